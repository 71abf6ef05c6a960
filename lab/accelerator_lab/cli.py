# SPDX-License-Identifier: Apache-2.0
"""The command line of the lab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import commands
from .errors import LabError


def argument(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, options


NODE = argument("node", help="a node's name, such as node-1")
KERNEL = argument("--kernel", metavar="PACKAGE", help="Debian package of the kernel, such as linux-image-6.12-amd64")
REST = argparse.REMAINDER
RAW = ("kubectl", "run")  # what follows these is another program's, its options too


@dataclass(frozen=True)
class Command:
    run: Callable[[argparse.Namespace], int]
    help: str
    arguments: Sequence[tuple[tuple[str, ...], dict[str, Any]]] = ()


COMMANDS = {
    "up": Command(
        commands.up,
        "start the lab, or what of it does not run; builds what the cache lacks",
        [argument("--nodes", type=int, help="how many; as many as there are, or one"), KERNEL],
    ),
    "down": Command(commands.down, "stop the lab and forget its state"),
    "status": Command(commands.status, "what runs, and where things are"),
    "diagnose": Command(commands.diagnose, "what somebody wants to see who was not there when something failed"),
    "kubeconfig": Command(commands.kubeconfig, "print the path of the playbook's kubeconfig"),
    "env": Command(commands.env, 'print exports for a shell: eval "$(lab/lab env)"'),
    "token": Command(
        commands.token,
        "print server, CA and a service account's token, as JSON: what an AAP credential has",
        [argument("--name", default="automation", help="the service account, in namespace default")],
    ),
    "play": Command(
        commands.play,
        "run a playbook on the lab, with the lab's registry and base images",
        [argument("playbook"), argument("arguments", nargs=REST, help="arguments of ansible-playbook")],
    ),
    "kubectl": Command(commands.kubectl, "run kubectl on the lab", [argument("command", nargs=REST)]),
    "run": Command(
        commands.run, "run any command with the lab's cluster, kubectl and tools", [argument("command", nargs=REST)]
    ),
    "ssh": Command(commands.into_node, "run a command in a node", [NODE, argument("command", nargs=REST)]),
    "shell": Command(commands.into_node, "open a shell in a node", [NODE]),
    "logs": Command(
        commands.logs,
        "list the logs on the host, or show one",
        [argument("name", nargs="?"), argument("--follow", action="store_true")],
    ),
    "reboot": Command(commands.reboot, "restart a node, perhaps with another kernel", [NODE, KERNEL]),
    "restart-kubelet": Command(commands.restart_kubelet, "restart a node's kubelet", [NODE]),
    "fault": Command(
        commands.fault,
        "make a stand-in fail (see lab/stand_ins/README.md)",
        [argument("name"), argument("--off", action="store_true", help="mend it")],
    ),
    "api-server": Command(
        commands.api_server,
        "etcd and API server alone: prints the kubeconfig's path, runs until killed",
        [argument("folder", help="where its files go")],
    ),
}


def parser() -> argparse.ArgumentParser:
    # The option may stand before or after the command; the one that is not given must not hide the other.
    instance = argparse.ArgumentParser(add_help=False)
    instance.add_argument(
        "--instance", metavar="NAME", default=argparse.SUPPRESS, help="default: $LAB_INSTANCE, or 'default'"
    )
    about = "A real Kubernetes cluster with virtual machines as nodes."
    top = argparse.ArgumentParser(prog="lab/lab", description=about, parents=[instance])
    choices = top.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = choices.add_parser(name, help=command.help, description=command.help, parents=[instance])
        for names, options in command.arguments:
            sub.add_argument(*names, **options)
        sub.set_defaults(run=command.run)
    return top


def parse(argv: list[str]) -> argparse.Namespace:
    args = parser().parse_args(fenced(argv), argparse.Namespace(instance=None))
    if getattr(args, "command", None) and args.command[0] == "--":
        args.command = args.command[1:]
    return args


def fenced(argv: list[str]) -> list[str]:
    """argparse takes an option right after the command for its own, unless a `--` stands before it."""
    place = next((number for number, word in enumerate(argv) if word in COMMANDS), len(argv))
    return [*argv[: place + 1], "--", *argv[place + 1 :]] if argv[place : place + 1] and argv[place] in RAW else argv


def main(argv: list[str]) -> int:
    args = parse(argv)
    try:
        return int(args.run(args))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except OSError as error:  # a full disk, a file that is gone or not ours: it names the file
        print(f"lab: {type(error).__name__}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("lab: interrupted; the next `lab/lab up` goes on from here", file=sys.stderr)
    return 1
