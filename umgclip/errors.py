"""The errors that end a command, each with the exit code of the command line.

Every message names the field, what was expected, what it got, and what to do.
"""

from __future__ import annotations


class UmgclipError(Exception):
    """Anything that this package can explain to its user."""

    exit_code = 1


class InputError(UmgclipError):
    """An argument, a file or a record is not as expected."""

    exit_code = 2


class MissingPackageError(InputError):
    """An optional package is not installed; the message is a whole sentence that says how to install it."""


class ParamsError(InputError):
    """`params.yaml` has an unknown key, a wrong type or a value out of range."""


class DataError(UmgclipError):
    """A dataset is missing, damaged or not the one that its manifest describes."""

    exit_code = 3


class TooLargeError(DataError):
    """A file or an object has more bytes than its reader allows."""


class GateError(UmgclipError):
    """A validation gate failed: the data are not fit to train on."""

    exit_code = 4


class OutputError(UmgclipError):
    """A result could not be written (disk full, no permission)."""

    exit_code = 5


class TrackingError(UmgclipError):
    """The MLflow server or its database does not answer, or refuses; trying again later may help."""

    exit_code = 6


class PromotionError(UmgclipError):
    """The champion stays: the gates do not let the version pass, or there is no earlier champion to go back to."""

    exit_code = 7


class StorageError(UmgclipError):
    """The object store does not answer, or refuses; trying again later may help."""

    exit_code = 8


class PeerError(UmgclipError):
    """A process that works on the same thing, here or on another machine, was lost; running again may help."""

    exit_code = 9
