# SPDX-License-Identifier: Apache-2.0
"""The lab's own dealings with its cluster, by kubectl and under a user name that the playbook does not have."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import binaries, processes, ssh, vm
from .control_plane import ADMINS, LAB_USER, PLAYBOOK_USER
from .errors import LabError
from .instance import Instance, Node
from .progress import say
from .run import tool

NODE_READY_SECONDS = 600
# An emulated machine may hang while it boots: once seen, on a host with four times the work that it could do, where a
# boot takes three minutes; otherwise it takes one.
SILENT_SECONDS = 240


def program() -> Path:
    return binaries.built(binaries.KUBERNETES) / "kubectl"


def kubectl_argv(lab: Instance, *arguments: str) -> list[str]:
    return [str(program()), f"--kubeconfig={lab.plane.kubeconfig(LAB_USER, ADMINS)}", *arguments]


def kubectl(lab: Instance, *arguments: str) -> str:
    return tool(kubectl_argv(lab, *arguments))


def playbook_kubeconfig(lab: Instance) -> Path:
    return lab.plane.kubeconfig(PLAYBOOK_USER, ADMINS)


def _status(lab: Instance, node: Node) -> dict[str, Any]:
    found = kubectl(lab, "get", "node", node.name, "--ignore-not-found", "-o", "json")
    return dict(json.loads(found)["status"]) if found else {}


def _is_ready(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def ready(lab: Instance, node: Node) -> bool:
    return _is_ready(_status(lab, node))


def boot_id(lab: Instance, node: Node) -> str:
    """Of the node's present boot; empty while it does not answer."""
    try:
        return ssh.run(lab, node, "cat /proc/sys/kernel/random/boot_id").strip()
    except LabError:
        return ""


def wait_ready(lab: Instance, node: Node) -> None:
    """Waits until a node is ready in its present boot: what it reported before a crash says nothing.

    A machine that gives no sign of life for SILENT_SECONDS is started anew, once.
    """
    booted, silent_until = "", time.monotonic() + SILENT_SECONDS

    def done() -> bool:
        nonlocal booted, silent_until
        status = _status(lab, node)
        if _is_ready(status):
            booted = booted or boot_id(lab, node)
            return bool(booted and status["nodeInfo"]["bootID"] == booted)
        if time.monotonic() > silent_until:
            silent_until = float("inf")
            if not boot_id(lab, node):
                say(f"{node.name} has said nothing for {SILENT_SECONDS} s: started anew")
                processes.stop(lab.folder, [node.name])
                vm.ensure(lab, node)
        return False

    wait(lab, node, done)


def wait(lab: Instance, node: Node, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NODE_READY_SECONDS
    while not done():
        hint = f"Type: lab/lab logs {node.name}; lab/lab ssh {node.name} journalctl -u kubelet"
        if processes.ended(lab.folder, node.name):
            raise LabError(f"{node.name}: its QEMU ended:\n{processes.log_tail(lab.folder, node.name)}\n{hint}")
        if time.monotonic() > deadline:
            said = processes.log_tail(lab.folder, node.name, 8)
            late = f"{node.name}: not Ready after {NODE_READY_SECONDS} s; its console said last:"
            raise LabError(f"{late}\n{said}\n{hint}")
        time.sleep(0.5)


def token(lab: Instance, name: str = "automation") -> dict[str, str]:
    """What a user of AAP types into a credential: a service account's token, the server, and its certificate."""
    for what in (
        ["create", "serviceaccount", name, "--namespace=default"],
        ["create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount=default:{name}"],
    ):
        made = subprocess.run(kubectl_argv(lab, *what), capture_output=True, text=True)
        if made.returncode and "already exists" not in made.stderr:
            raise LabError(f"{' '.join(what)}: {made.stderr.strip()}")
    secret = kubectl(lab, "create", "token", name, "--namespace=default", "--duration=24h").strip()
    authority = lab.plane.authority.pair.certificate
    return {"server": lab.plane.server, "token": secret, "ca": authority.read_text(), "ca_file": str(authority)}
