# SPDX-License-Identifier: Apache-2.0
"""The lab's processes on the host. Which ones run is read from the kernel, never from a file that may be stale:
each carries in its environment a mark that names its lab and itself, and so do its children."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

MARK = "ACCELERATOR_LAB_PROCESS"
STOP_SECONDS = 10.0
KILL_SECONDS = 60.0  # a machine's memory takes a while to be freed where the host is busy
EXEC_SECONDS = 0.5


@dataclass(frozen=True)
class Process:
    """leader: started by the lab, not a child of such a process."""

    pid: int
    name: str
    argv: tuple[str, ...]
    leader: bool


def mark(folder: Path, name: str) -> str:
    return f"{folder}#{name}"


def _read(pid: int) -> tuple[str, tuple[str, ...]] | None:
    """The mark and the command line of a process; nothing if it has no mark, is another user's, or just ended."""
    proc = Path("/proc") / str(pid)
    try:
        environment = (proc / "environ").read_bytes().split(b"\0")
        argv = (proc / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return None
    found = [entry for entry in environment if entry.startswith(f"{MARK}=".encode())]
    return (found[0].decode().partition("=")[2], tuple(part.decode() for part in argv)) if found else None


def running(folder: Path) -> list[Process]:
    """All live processes of the lab in this folder."""
    found = []
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        seen = _read(pid)
        if seen and seen[0].startswith(mark(folder, "")):
            found.append(Process(pid, seen[0].rpartition("#")[2], seen[1], _session(pid) == pid))
    return found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def leader(folder: Path, name: str) -> Process | None:
    return next((process for process in running(folder) if process.name == name and process.leader), None)


def ended(folder: Path, name: str) -> bool:
    """Whether a process that was started is gone. A second look: between two programs of an exec it has no mark."""
    if leader(folder, name):
        return False
    time.sleep(EXEC_SECONDS)
    return leader(folder, name) is None


def start(folder: Path, name: str, argv: list[str], env: dict[str, str] | None = None, tied: bool = False) -> None:
    """Starts a process that goes on without us, or, if tied, that the kernel kills when we end.

    Its output goes to logs/<name>.log in the lab's folder.
    """
    log = log_file(folder, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        subprocess.Popen(
            [*(["setpriv", "--pdeathsig", "KILL"] if tied else []), *argv],
            cwd=folder,
            env={**os.environ, **(env or {}), MARK: mark(folder, name)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ensure(folder: Path, name: str, argv: list[str], env: dict[str, str] | None = None, tied: bool = False) -> bool:
    """Has exactly this command running under this name; says whether it had to be started."""
    process = leader(folder, name)
    if process and process.argv == tuple(argv):
        return False
    stop(folder, [name])
    start(folder, name, argv, env, tied)
    return True


def stop(folder: Path, names: Iterable[str] | None = None, grace: float = STOP_SECONDS) -> list[str]:
    """Ends the lab's processes of these names (all, if None) with their children; returns the names that ran."""

    def alive() -> list[Process]:
        return [p for p in running(folder) if (wanted is None or p.name in wanted) and p.pid != os.getpid()]

    wanted = None if names is None else set(names)
    stopped = {process.name for process in alive()}
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
        for process in alive():
            _signal(process.pid, number)
        deadline = time.monotonic() + seconds
        while (left := alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not left:
            return sorted(stopped)
    raise LabError(f"these processes do not end: {[(p.pid, p.name) for p in alive()]}. Type: ps -fp PID")


def wait_end(folder: Path, name: str, seconds: float) -> bool:
    """Waits until a process has ended by itself; says whether it has."""
    deadline = time.monotonic() + seconds
    while leader(folder, name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def log_file(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


def log_tail(folder: Path, name: str, lines: int = 20) -> str:
    log = log_file(folder, name)
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"
