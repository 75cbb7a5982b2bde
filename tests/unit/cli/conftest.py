"""Commands in processes of their own, without the time that their imports take."""

import os
from collections.abc import Iterator

import pytest

from tests.forks import Forks, forking

# what commands about data import when they run
_PRELOADED = (
    "umgclip.__main__", "umgclip.cli.data.datasets", "umgclip.cli.report", "umgclip.cli.session",
    "umgclip.sources.demo.scenes", "umgclip.sources.exporting", "umgclip.sources.importing.run",
)  # fmt: skip


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A server whose forks have imported the package's commands and what those about data need."""
    with forking(*_PRELOADED, environment=os.environ) as server:
        yield server
