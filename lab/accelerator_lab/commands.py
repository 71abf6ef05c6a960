# SPDX-License-Identifier: Apache-2.0
"""What the command line's words do. Each gets its parsed arguments and returns the exit status."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import threading
from pathlib import Path

from . import cluster, control_plane, diagnosis, lifecycle, playing, processes, ssh, stand_ins
from .errors import LabError
from .instance import chosen, existing


def up(args: argparse.Namespace) -> int:
    lab = chosen(args.instance)
    lifecycle.up(lab, args.nodes, args.kernel)
    return status(args)


def down(args: argparse.Namespace) -> int:
    lifecycle.down(chosen(args.instance))
    return 0


def status(args: argparse.Namespace) -> int:
    """Where everything is and what runs; exit status 1 unless all of it runs and every node is Ready."""
    lines, healthy = diagnosis.status(existing(args.instance))
    print("\n".join(lines))
    return 0 if healthy else 1


def diagnose(args: argparse.Namespace) -> int:
    """Succeeds also when the lab is ill: it has said so then."""
    print(diagnosis.report(existing(args.instance)))
    return 0


def kubeconfig(args: argparse.Namespace) -> int:
    print(cluster.playbook_kubeconfig(existing(args.instance)))
    return 0


def env(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    for name, value in playing.environment(lab).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def token(args: argparse.Namespace) -> int:
    print(json.dumps(cluster.token(existing(args.instance), args.name), indent=1))
    return 0


def into_node(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    return ssh.interactive(lab, lab.node(args.node), getattr(args, "command", []))


def logs(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    known = sorted(path.stem for path in (lab.folder / "logs").glob("*.log"))
    if not args.name:
        print("\n".join(known))
        return 0
    if args.name not in known:
        raise LabError(f"no log of {args.name}; there are: {', '.join(known)}")
    follow = ["--follow"] if args.follow else []
    return subprocess.run(["tail", "--lines=200", *follow, processes.log_file(lab.folder, args.name)]).returncode


def kubectl(args: argparse.Namespace) -> int:
    return subprocess.run(cluster.kubectl_argv(existing(args.instance), *args.command)).returncode


def run(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    return subprocess.run(args.command, env=playing.whole_environment(lab, os.environ)).returncode


def play(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    argv = playing.argv(lab, args.playbook, args.arguments)
    return subprocess.run(argv, env=playing.whole_environment(lab, os.environ)).returncode


def reboot(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    lifecycle.reboot(lab, lab.node(args.node), args.kernel)
    return 0


def restart_kubelet(args: argparse.Namespace) -> int:
    lab = existing(args.instance)
    ssh.run(lab, lab.node(args.node), "systemctl restart kubelet && systemctl is-active kubelet")
    return 0


def fault(args: argparse.Namespace) -> int:
    return stand_ins.fault(existing(args.instance), args.name, args.off)


def api_server(args: argparse.Namespace) -> int:
    """etcd and API server alone, in a folder, until this process is told to end."""
    folder = Path(args.folder).resolve()
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: end.set())
    try:
        plane = control_plane.plan(folder)
        control_plane.start_api(plane, tied=True)
        print(plane.kubeconfig(control_plane.LAB_USER, control_plane.ADMINS), flush=True)
        end.wait()
    finally:
        processes.stop(folder, grace=1)  # a fresh one is wanted next time, so nothing is lost
    return 0
