"""What every test may rely on."""

import signal


def pytest_configure() -> None:
    """Let Ctrl-C reach tests and what they start, also where a shell's `&` has made this process ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
