"""Processes end with their own exit code, whatever their threads compute."""

import subprocess
import sys
import textwrap

import pytest

COMPUTING = textwrap.dedent(
    """
    import sys, threading
    import torch

    def compute():
        while True:
            torch.ones(1000).sum()

    for _ in range(4):
        threading.Thread(target=compute, daemon=True).start()
    """
)
ENDS = {
    "end_process": "from umgclip.process_end import end_process\nprint('done')\nend_process(3)",
    "a command": textwrap.dedent(
        """
        import typer
        from umgclip import __main__ as program

        @program.app.command()
        def leave() -> None:
            print("done")
            raise typer.Exit(3)

        sys.argv = ["umgclip", "leave"]
        program.main()
        """
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_threads_that_compute_do_not_abort_a_process_at_its_end(end):
    # without `end_process` each of these ended with SIGABRT in every try
    ended = subprocess.run([sys.executable, "-c", COMPUTING + ENDS[end]], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "done\n", "")


def test_what_a_command_registered_is_done_before_its_process_ends():
    program = ENDS["a command"].replace('print("done")', 'import atexit; atexit.register(print, "registered")')
    ended = subprocess.run([sys.executable, "-c", COMPUTING + program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "registered\n", "")
