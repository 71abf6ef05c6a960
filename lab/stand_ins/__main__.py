# SPDX-License-Identifier: Apache-2.0
"""One process for all stand-ins: python -m stand_ins --kubeconfig FILE run … | fault NAME. See README.md."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import subprocess
import threading
from functools import partial
from pathlib import Path

from stand_ins.catalog import PACKAGES
from stand_ins.controller import Controller, install_definitions, set_fault, until_done
from stand_ins.kmm import Kmm
from stand_ins.kube import Kube
from stand_ins.nfd import Nfd, NodeRunner
from stand_ins.olm import Olm

FAULTS = ("csv-fails", "nfd-silent")
NODE_SECONDS = 180  # for an emulated node to answer while it pulls images on a busy host


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    kube = Kube(arguments.kubeconfig)
    if arguments.command == "fault":
        set_fault(kube, arguments.name, not arguments.off)
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    for name in _definitions(arguments):
        until_done(partial(install_definitions, kube, name, f"{name}-stand-in"), stop)
    for controller in _controllers(kube, arguments):
        until_done(controller.start, stop)
    stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stand_ins")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="play until SIGTERM")
    run.add_argument(
        "--node-command", required=True, help="prints what '{node}' answers to the shell command that follows"
    )
    run.add_argument("--worker-image", required=True, help="image with sh, cp, dmesg and kmod, for KMM's workers")
    run.add_argument("--play", default="olm", help="olm (which starts the others as they are installed) or nfd,kmm")
    run.add_argument("--monitoring", action="store_true", help="also serve ServiceMonitor and PrometheusRule")
    fault = commands.add_parser("fault", help="make a stand-in fail")
    fault.add_argument("name", choices=FAULTS)
    fault.add_argument("--off", action="store_true", help="mend it again")
    return parser


def _controllers(kube: Kube, arguments: argparse.Namespace) -> list[Controller]:
    operators = {
        "nfd": lambda: Nfd(kube, _runner(arguments.node_command)),
        "kernel-module-management": lambda: Kmm(kube, arguments.worker_image),
    }
    if arguments.play == "olm":
        return [Olm(kube, operators)]
    by_definitions = {package.definitions: package.name for package in PACKAGES.values()}
    return [operators[by_definitions[name]]() for name in arguments.play.split(",")]


def _definitions(arguments: argparse.Namespace) -> list[str]:
    """What is served from the start. OLM brings its own and, when they are asked for, those of the others."""
    names = [] if arguments.play == "olm" else arguments.play.split(",")
    return [*(["monitoring"] if arguments.monitoring else []), *names]


def _runner(command: str) -> NodeRunner:
    def run(node: str, shell: str) -> str:
        argv = [part.replace("{node}", node) for part in shlex.split(command)]
        done = subprocess.run([*argv, shell], capture_output=True, text=True, timeout=NODE_SECONDS, check=True)
        return done.stdout

    return run


if __name__ == "__main__":
    main()
