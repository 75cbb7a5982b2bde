"""Hosts on one machine: network namespaces with a cable to a switch, each with its own name, folder and processes.

Only root may make them, and nothing of them is seen outside: the switch stands in a namespace too, and no address is
given to the machine itself. `Hosts.close` kills what runs in them and takes them away.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_NET = "10.203.0"
_TOOLS = ("ip", "tc", "nsenter", "unshare")


def why_not() -> str | None:
    """What this machine lacks, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need root on Linux"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    name = f"umg{os.getpid()}try"
    tried = [
        ("ip", "netns", "add", name),
        ("ip", "-n", name, "link", "add", "br0", "type", "bridge"),
        ("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"),
        ("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "eth0", "root", *_tbf(10)),
    ]
    try:
        for command in tried:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{' '.join(command[:4])}: {done.stderr.strip()}"
    finally:
        subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)
    return None


def _tbf(mbit: float) -> tuple[str, ...]:
    return ("tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "400ms")


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Host:
    """One of them: `eth0` leads to the switch; `folder` is a disk of its own at the same path on every host."""

    def __init__(self, name: str, switch: str, number: int, folder: Path) -> None:
        self.name, self.address = name, f"{_NET}.{number}"
        self._space, self._switch, self._port = f"{switch}{name}", switch, f"port{number}"
        self._started: list[subprocess.Popen] = []
        _run("ip", "netns", "add", self._space)
        _run("ip", "-n", switch, "link", "add", self._port, "type", "veth", "peer", "name", "eth0",
             "netns", self._space)  # fmt: skip
        _run("ip", "-n", switch, "link", "set", self._port, "master", "br0", "up")
        _run("ip", "-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", self._space, "link", "set", device, "up")
        setup = f'mount -t tmpfs tmpfs "{folder}" && hostname {name} && echo ready && exec sleep infinity'
        # it keeps the namespaces of disks and names alive, into which the others are put
        self._holder = subprocess.Popen(
            ["ip", "netns", "exec", self._space, "unshare", "--mount", "--uts", "--propagation", "private",
             "sh", "-c", setup], stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._holder.stdout.readline().strip() == "ready"

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path | None = None
    ) -> subprocess.Popen:
        """Start a process on this host, in a group of its own."""
        inside = [
            "nsenter",
            "--target",
            str(self._holder.pid),
            "--mount",
            "--uts",
            "--net",
            f"--wd={cwd or Path.cwd()}",
        ]
        with log.open("a") as written:
            process = subprocess.Popen(
                [*inside, "--", *command], env=dict(environment), stdin=subprocess.DEVNULL, stdout=written,
                stderr=written, start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def pids(self) -> list[int]:
        """What runs here, without what keeps the host alive."""
        listed = subprocess.run(["ip", "netns", "pids", self._space], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split() if int(pid) != self._holder.pid]

    def runs(self, beginning: str) -> bool:
        """Return whether a process runs here whose command line begins so."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if line.startswith(beginning):
                    return True
        return False

    def cut(self) -> None:
        """Pull the cable: nothing is answered, not even refused."""
        _run("ip", "-n", self._switch, "link", "set", self._port, "down")

    def mend(self) -> None:
        """Put the cable back."""
        _run("ip", "-n", self._switch, "link", "set", self._port, "up")

    def limit(self, mbit: float) -> None:
        """Let no more than so many megabits a second through, in each direction."""
        _run("ip", "netns", "exec", self._space, "tc", "qdisc", "replace", "dev", "eth0", "root", *_tbf(mbit))
        _run("ip", "netns", "exec", self._switch, "tc", "qdisc", "replace", "dev", self._port, "root", *_tbf(mbit))

    def sent_bytes(self) -> int:
        """Bytes that went through the cable, in both directions."""
        counters = ("rx_bytes", "tx_bytes")
        paths = [f"/sys/class/net/eth0/statistics/{counter}" for counter in counters]
        inside = ["ip", "netns", "exec", self._space, "cat", *paths]
        return sum(map(int, _run(*inside).split()))

    def kill(self) -> None:
        """End all processes at once, as when the power goes."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill what runs here and take the host away."""
        until = time.monotonic() + 10
        while self.pids() and time.monotonic() < until:
            self.kill()
            time.sleep(0.05)
        self._holder.kill()
        for process in (*self._started, self._holder):
            process.wait()
        self._holder.stdout.close()
        subprocess.run(["ip", "netns", "del", self._space], capture_output=True, check=False)


class Hosts:
    """A switch and the hosts at it, by name."""

    def __init__(self, *names: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="umgh-", dir="/tmp"))  # names of Ray's sockets have to be short
        self._switch = f"umg{os.getpid()}"
        self._hosts: dict[str, Host] = {}
        try:
            _run("ip", "netns", "add", self._switch)
            _run("ip", "-n", self._switch, "link", "add", "br0", "type", "bridge")
            _run("ip", "-n", self._switch, "link", "set", "br0", "up")
            for number, name in enumerate(names, 1):
                self._hosts[name] = Host(name, self._switch, number, self.folder)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def close(self) -> None:
        """Take everything away."""
        for host in self._hosts.values():
            host.close()
        subprocess.run(["ip", "netns", "del", self._switch], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
