# SPDX-License-Identifier: Apache-2.0
"""Into a node by ssh: keys and a configuration file of the lab's own, one shared connection per node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from . import cache, processes
from .errors import LabError
from .instance import Instance, Node
from .run import tool

NAME = "ssh"
POWER_OFF_SECONDS = 60
ENDED_SECONDS = 30  # for a shared connection to answer that it ends


def key(folder: Path, name: str) -> Path:
    """A key pair, made once."""
    file = folder / "ssh" / name
    if not file.with_suffix(".pub").exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        tool(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{name}", "-f", file])
    return file


def public(private: Path) -> str:
    return private.with_suffix(".pub").read_text()


def render(folder: Path, ports: dict[str, int]) -> str:
    """ssh's configuration; ports by name of node."""
    common = [
        "User root",
        "HostName 127.0.0.1",
        "HostKeyAlias lab-node",  # all nodes of a lab have one host key
        f"IdentityFile {folder}/ssh/user",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {folder}/ssh/known_hosts",
        "StrictHostKeyChecking yes",
        "ControlMaster auto",
        f"ControlPath {folder}/ssh/%n",
        "ControlPersist 600",
        "ServerAliveInterval 5",
        "ServerAliveCountMax 12",
        "LogLevel ERROR",
    ]
    hosts = [f"Host {name}\n  Port {port}" for name, port in sorted(ports.items())]
    return "\n".join([*hosts, "Host *", *(f"  {line}" for line in common)]) + "\n"


def configure(lab: Instance) -> Path:
    """Writes keys and configuration; returns the configuration file."""
    key(lab.folder, "user")
    host = key(lab.folder, "host")
    ports = lab.ports
    # Written whole: the stand-ins' ssh may read them now.
    cache.write_whole(lab.folder / "ssh" / "known_hosts", f"lab-node {public(host)}".encode())
    config = lab.folder / "ssh" / "config"
    text = render(lab.folder, {node.name: ports[f"{node.name}.ssh"] for node in lab.nodes})
    cache.write_whole(config, text.encode())
    return config


def argv(lab: Instance, node: str, *command: str, forward: str = "", terminal: bool = False) -> list[str]:
    """ssh's command line; forward: a host:port seen from the node that standard input and output lead to.

    The shared connection goes on after whoever opened it, so it has a mark of its own: it is not taken for a process
    that has ended, and `down` ends it.
    """
    options = [*(["-W", forward] if forward else []), *(["-t"] if terminal else [])]
    marked = ["env", f"{processes.MARK}={processes.mark(lab.folder, NAME)}"]
    return [*marked, "ssh", "-F", str(lab.folder / "ssh" / "config"), *options, node, *command]


def run(lab: Instance, node: Node, command: str, timeout: float = 180) -> str:
    """The output of a shell command in a node that must succeed."""
    try:
        done = subprocess.run(
            argv(lab, node.name, command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"{node.name}: `{command}` did not end within {timeout:.0f} s. Type: lab/lab logs {node.name}"
        ) from error
    if done.returncode:
        raise LabError(f"{node.name}: `{command}` ended with {done.returncode} and said: {done.stderr.strip()[-1000:]}")
    return done.stdout


def interactive(lab: Instance, node: Node, command: list[str]) -> int:
    terminal = not command and sys.stdin is not None and sys.stdin.isatty()
    return subprocess.run(argv(lab, node.name, *command, terminal=terminal)).returncode


def power_off(lab: Instance, node: Node) -> None:
    """Tells the node to shut down, and does not mind if it cannot be told. What it has to write it writes first."""
    command = argv(lab, node.name, "sync; systemctl poweroff --no-block")
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=POWER_OFF_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    disconnect(lab, node)


def disconnect(lab: Instance, node: Node) -> None:
    """Ends the shared connection, if there is one: it would outlive the node. A killed one leaves its socket."""
    command = ["ssh", "-F", str(lab.folder / "ssh" / "config"), "-O", "exit", node.name]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ENDED_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # without its socket nobody finds it any more
    (lab.folder / "ssh" / node.name).unlink(missing_ok=True)
