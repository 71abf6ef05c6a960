# SPDX-License-Identifier: Apache-2.0
"""One process for all stand-ins: python -m stand_ins --kubeconfig FILE run … | fault NAME. See README.md."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import subprocess
import threading
from pathlib import Path

from stand_ins.catalog import PACKAGES
from stand_ins.controller import Controller, install_definitions, set_fault
from stand_ins.kmm import Kmm
from stand_ins.kube import Kube
from stand_ins.nfd import Nfd, NodeRunner
from stand_ins.olm import Olm

FAULTS = ("csv-fails", "nfd-silent")


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    kube = Kube(arguments.kubeconfig)
    if arguments.command == "fault":
        set_fault(kube, arguments.name, not arguments.off)
        return
    controllers = _controllers(kube, arguments)
    if arguments.monitoring:
        install_definitions(kube, "monitoring", "monitoring-stand-in")
    for controller in controllers:
        controller.start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
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
    names = arguments.play.split(",")
    for name in names:
        install_definitions(kube, name, f"{name}-stand-in")
    return [operators[by_definitions[name]]() for name in names]


def _runner(command: str) -> NodeRunner:
    def run(node: str, shell: str) -> str:
        argv = [part.replace("{node}", node) for part in shlex.split(command)]
        done = subprocess.run([*argv, shell], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    return run


if __name__ == "__main__":
    main()
