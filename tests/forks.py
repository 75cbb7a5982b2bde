"""Python processes as forks of one that has imported what they need: a server that forks, and its clients.

Each is a process and a session of its own, with its own folder, variables, streams and exit code, and is there without
the time that imports take. The server is small, unlike a process that runs tests, so that forks of it cost little.

    python forks.py serve SOCKET ROOT MODULE...    imports the modules, the package's from ROOT, and forks until its
                                                   standard input ends
    python forks.py run SOCKET WORDS...            runs what `python WORDS...` would
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parents[1]
_NUMBER = struct.Struct("!q")


class Forks:
    """The client of a server: starts processes in it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def begin(
        self, words: Sequence[str], cwd: Path | str, environment: Mapping[str, str], streams: Sequence[int]
    ) -> Begun:
        """Start what `python WORDS...` would run, with three open files as its streams."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        request = json.dumps([list(words), str(cwd), dict(environment)]).encode()
        socket.send_fds(connection, [_NUMBER.pack(len(request))], list(streams))
        connection.sendall(request)
        return Begun(connection, _number(connection))

    def run(
        self, words: Sequence[str], cwd: Path | str, environment: Mapping[str, str], on_line: Callable[[str], object]
    ) -> int:
        """Run a process whose output, with its errors, goes to `on_line` line by line; return its exit code."""
        out, into = os.pipe()
        with Path(os.devnull).open("rb") as nothing, os.fdopen(out, encoding="utf-8", errors="replace") as output:
            try:
                begun = self.begin(words, cwd, environment, (nothing.fileno(), into, into))
            finally:
                os.close(into)
            try:
                for line in output:
                    if text := line.rstrip():
                        on_line(text)
            except BaseException:
                os.killpg(begun.pid, signal.SIGKILL)
                raise
            finally:
                code = begun.wait()
        return code

    def popen(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: IO[Any], stdout: IO[Any], stderr: IO[Any]
    ) -> Begun:
        """Start what `subprocess.Popen` would with `[sys.executable, *words]`."""
        return self.begin(words, cwd, env, [stream.fileno() for stream in (stdin, stdout, stderr)])

    def execute(self, words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run what `subprocess.run` would with `[sys.executable, *words]`, and keep what it writes."""
        with (
            Path(os.devnull).open() as nothing,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            code = self.popen(words, cwd, env, nothing, out, err).wait()
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(list(words), code, out.read(), err.read())

    def write_program(self, path: Path, *words: str) -> None:
        """Write a program that stands for `python WORDS...`, to be found by a shell."""
        command = [sys.executable, "-ISB", __file__, "run", self.address, *words]
        path.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in command) + ' "$@"\n')
        path.chmod(0o755)


class Begun:
    """A process that a server has started, with what tests ask of a `subprocess.Popen`."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection = connection
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code when it has ended; -N for signal N."""
        if self.returncode is None:
            ready = select.select([self._connection], [], [], timeout)[0]
            if not ready:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0.0)
            with self._connection:
                self.returncode = _number(self._connection)
        return self.returncode

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send it a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


@contextlib.contextmanager
def forking(*modules: str, environment: Mapping[str, str] | None = None) -> Iterator[Forks]:
    """Run a server that has imported modules, until the block ends."""
    folder = tempfile.mkdtemp()  # a socket's path has to be short
    address = f"{folder}/socket"
    words = [sys.executable, "-u", __file__, "serve", address, str(ROOT), *modules]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=folder)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n", f"the server of {modules} ended"
        yield Forks(address)
    finally:
        server.communicate()
        shutil.rmtree(folder)


def _number(connection: socket.socket) -> int:
    data = _exactly(connection, _NUMBER.size)
    return int(_NUMBER.unpack(data)[0])


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the other side ended")
        data += piece
    return data


def _serve(address: str, root: str, modules: Sequence[str]) -> None:
    sys.path[0] = root
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end this server
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError):  # another version may lack it, and forks import what they need
            importlib.import_module(module)
    assert threading.active_count() == 1, "threads do not come along into forks"
    gc.collect()
    gc.freeze()
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    waiting: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(address)
        listener.listen(100)
        for source in (0, woken, listener):
            selector.register(source, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if 0 in ready:
                return
            if woken in ready:
                os.read(woken, 1 << 16)
                _tell_ends(waiting)
            if listener in ready:
                connection = listener.accept()[0]
                pid = _fork(connection, (listener, *waiting.values()))
                waiting[pid] = connection


def _tell_ends(waiting: dict[int, socket.socket]) -> None:
    """Send the exit codes of processes that have ended to who waits for them."""
    while waiting:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with waiting.pop(pid) as connection, contextlib.suppress(BrokenPipeError):
            connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _fork(connection: socket.socket, others: Sequence[socket.socket]) -> int:
    """Start the process that a client asks for, and tell its number."""
    size, streams, _, _ = socket.recv_fds(connection, _NUMBER.size, 3)
    words, cwd, environment = json.loads(_exactly(connection, _NUMBER.unpack(size)[0]))
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in (connection, *others):
            other.close()
        _be(words, cwd, environment, streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(_NUMBER.pack(pid))
    return pid


def _be(words: Sequence[str], cwd: str, environment: Mapping[str, str], streams: Sequence[int]) -> NoReturn:
    """Run `python WORDS...` in this process, and end it."""
    code = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
        sys.stdout = sys.__stdout__ = _writer(1, "strict")
        sys.stderr = sys.__stderr__ = _writer(2, "backslashreplace")
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        option, what, *rest = words
        if option == "-c":
            sys.argv = ["-c", *rest]
            exec(what, {"__name__": "__main__"})
        else:
            assert option == "-m"
            sys.argv = ["-m", *rest]
            sys.modules.pop(f"{what}.__main__", None)  # runpy warns of what was imported before it runs
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001 - nothing may leave this process
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            _end()
        os._exit(code & 0xFF)


def _writer(number: int, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", errors, write_through=True)


def _end() -> None:
    """Do what Python does at its end, but for the objects of modules."""
    import atexit

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


if __name__ == "__main__":
    _, what, where, *others = sys.argv
    if what == "serve":
        _serve(where, others[0], others[1:])
    else:
        ended = Forks(where).begin(others, Path.cwd(), os.environ, (0, 1, 2)).wait()
        sys.exit(ended if ended >= 0 else 128 - ended)
