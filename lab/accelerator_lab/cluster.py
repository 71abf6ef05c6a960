# SPDX-License-Identifier: Apache-2.0
"""The lab's own dealings with its cluster, by kubectl and under a user name that the playbook does not have."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from . import binaries, processes, ssh, vm
from .control_plane import ADMINS, LAB_USER, PLAYBOOK_USER
from .errors import LabError
from .instance import Instance, Node
from .progress import say
from .run import tool

NODE_READY_SECONDS = 900
# An emulated machine may hang while it boots: seen on a host with four times the work that it could do, and once on an
# idle one. One that is only slow goes on writing on its console, or answers; one that hangs has no more to say than
# that it does.
SILENT_SECONDS = 240
HUNG = re.compile(rb"\] (watchdog: BUG: soft lockup|rcu: )")
ANSWER_SECONDS = 120  # a minute was too short where a node pulled images on a host with six times its work
# Taken off a node a few seconds after it is ready; until then no pod is put there, and KMM takes it for one to leave.
NOT_YET = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def program() -> Path:
    return binaries.built(binaries.KUBERNETES) / "kubectl"


def kubectl_argv(lab: Instance, *arguments: str) -> list[str]:
    config = lab.plane.kubeconfig(LAB_USER, ADMINS)
    return [str(program()), f"--kubeconfig={config}", f"--cache-dir={kubectl_cache(lab)}", *arguments]


def kubectl_cache(lab: Instance) -> Path:
    """What kubectl knows of the APIs: of this lab, not of the one that had the same port before."""
    return lab.folder / "kubectl"


def kubectl(lab: Instance, *arguments: str) -> str:
    return tool(kubectl_argv(lab, *arguments))


def playbook_kubeconfig(lab: Instance) -> Path:
    return lab.plane.kubeconfig(PLAYBOOK_USER, ADMINS)


def _look(lab: Instance, node: Node) -> dict[str, Any]:
    found = kubectl(lab, "get", "node", node.name, "--ignore-not-found", "--request-timeout=30s", "-o", "json")
    return dict(json.loads(found)) if found else {}


def _is_ready(found: dict[str, Any]) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _is_usable(found: dict[str, Any]) -> bool:
    return _is_ready(found) and not any(taint["key"] in NOT_YET for taint in found["spec"].get("taints", []))


def ready(lab: Instance, node: Node) -> bool:
    return _is_ready(_look(lab, node))


def boot_id(lab: Instance, node: Node) -> str:
    """Of the node's present boot; empty while it does not answer."""
    try:
        return ssh.run(lab, node, "cat /proc/sys/kernel/random/boot_id", ANSWER_SECONDS).strip()
    except LabError:
        return ""


class Boot:
    """Waiting until a node is usable in its present boot: what it reported before a crash says nothing.

    A machine that gives no sign of life for SILENT_SECONDS is started anew, once.
    """

    def __init__(self, lab: Instance, node: Node, same_disk: bool) -> None:
        self.lab, self.node, self.same_disk = lab, node, same_disk
        self.trouble = ""  # what kubectl said when it failed last
        self._booted, self._restarted = "", False
        self._console, self._heard = 0, time.monotonic()  # how much of it was read; when it was last a sign of life

    def done(self) -> bool:
        try:
            found = _look(self.lab, self.node)
        except LabError as error:  # a busy API server misses a request; if it is gone, time runs out
            self.trouble, found = str(error), {}
        if _is_usable(found):
            self._heard = time.monotonic()  # by its kubelet, in the last minutes
            self._booted = self._booted or boot_id(self.lab, self.node)
            if self._booted and found["status"]["nodeInfo"]["bootID"] == self._booted:
                return True
        self._listen()
        return False

    def _listen(self) -> None:
        now = time.monotonic()
        if any(line.strip() and not HUNG.search(line) for line in self._news()):
            self._heard = now
        elif now - self._heard > SILENT_SECONDS and not self._restarted:
            self._heard = now
            if not boot_id(self.lab, self.node):
                self._start_anew()

    def _news(self) -> list[bytes]:
        """The lines that the console has said since it was last asked, but for one that is not complete."""
        file = processes.log_file(self.lab.folder, self.node.name)
        said = file.read_bytes()[self._console :] if file.exists() else b""
        whole = said[: max(said.rfind(b"\n"), said.rfind(b"\r")) + 1]
        self._console += len(whole)
        return whole.splitlines()

    def _start_anew(self) -> None:
        said = processes.log_tail(self.lab.folder, self.node.name, 8)
        say(f"{self.node.name} has given no sign of life for {SILENT_SECONDS} s: started anew; its last words:\n{said}")
        self._booted, self._restarted = "", True
        processes.stop(self.lab.folder, [self.node.name])
        vm.ensure(self.lab, self.node, self.same_disk)


def wait_ready(lab: Instance, node: Node, same_disk: bool = False) -> None:
    boot, deadline = Boot(lab, node, same_disk), time.monotonic() + NODE_READY_SECONDS
    while not boot.done():
        hint = f"Type: lab/lab logs {node.name}; lab/lab ssh {node.name} journalctl -u kubelet"
        if processes.ended(lab.folder, node.name):
            raise LabError(f"{node.name}: its QEMU ended:\n{processes.log_tail(lab.folder, node.name)}\n{hint}")
        if time.monotonic() > deadline:
            said = processes.log_tail(lab.folder, node.name, 8)
            late = f"{node.name}: not Ready after {NODE_READY_SECONDS} s; its console said last:"
            raise LabError(f"{late}\n{said}\n{boot.trouble and f'kubectl said: {boot.trouble}'}\n{hint}")
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
