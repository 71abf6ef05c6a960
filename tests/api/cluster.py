# SPDX-License-Identifier: Apache-2.0
"""What the API tests share and that is no fixture: an API server, modules on it, a fake kubelet, waiting."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from stand_ins.controller import Controller
from stand_ins.kube import NODES, PODS, Kube, key

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 2400  # a first start compiles Kubernetes, or waits for the lab that does
WAIT_SECONDS = 120  # no promise of anybody's: these tests run beside a lab, which comes first


@contextmanager
def api_server(folder: Path) -> Iterator[Kube]:
    argv = [str(ROOT / "lab" / "lab"), "api-server", str(folder)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        if not ready:
            pytest.fail(f"{' '.join(argv)}: no kubeconfig printed within {START_SECONDS} s; see {folder}/logs")
        line = process.stdout.readline().strip()
        if not line:
            pytest.fail(f"{' '.join(argv)}: ended with {process.wait(120)} before it printed a kubeconfig; it said why")
        yield Kube(Path(line))
    finally:
        process.terminate()
        process.wait(120)


@dataclass
class Modules:
    """Runs the collection's modules on an API server, as Ansible runs them."""

    kubeconfig: Path
    python: str = field(default=sys.executable, kw_only=True)  # that the module is started with

    def run(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """The module's result, which has `failed` when it failed."""
        argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "localhost,", "-c", "local"]
        argv += ["-e", f"ansible_python_interpreter={self.python}", *(["--check"] if check else [])]
        argv += ["-m", f"ecosystem_edge.accelerator.{module}", "-a", json.dumps(options)]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("K8S_AUTH_", "KUBECONFIG"))},
            "K8S_AUTH_KUBECONFIG": str(self.kubeconfig),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600, cwd=ROOT)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]["localhost"]
        return result


def report(kube: Kube, boot: str) -> None:
    condition = {"type": "Ready", "status": "True", "reason": "", "message": ""}
    blank = ("machineID", "systemUUID", "osImage", "containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion")
    info = dict.fromkeys(blank, "") | {"operatingSystem": "linux", "architecture": "amd64"}
    info |= {"bootID": boot, "kernelVersion": "6.1.0-9-amd64"}
    kube.merge(NODES, NODES.new("worker-1"), {"status": {"nodeInfo": info, "conditions": [condition]}}, "status")
    # What the API server put on a new node and the controller manager would take off.
    kube.merge(NODES, NODES.new("worker-1"), {"spec": {"taints": None}})


class FakeKubelet(Controller):
    """Every pod succeeds at once, but those whose image is in `broken`."""

    name = "fake-kubelet"

    def __init__(self, kube: Kube) -> None:
        super().__init__(kube)
        self.broken: set[str] = set()
        self.seen: list[str] = []
        self._pods = self.store(PODS)

    def mend(self) -> None:
        self.broken.clear()
        self._wake.set()

    def reconcile(self) -> None:
        for pod in self._pods.all():
            namespace, name = key(pod)
            images = {c["image"] for c in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])}
            if "deletionTimestamp" in pod["metadata"]:
                self.kube.delete(PODS, name, namespace, gracePeriodSeconds=0)
            elif pod["status"].get("phase") == "Pending" and not images & self.broken:
                self.seen.append(" ".join([name, *pod["spec"]["containers"][0].get("args", [])]))
                self.kube.merge(PODS, pod, {"status": {"phase": "Succeeded"}}, "status")


def eventually(look: Callable[[], Any], expected: Any) -> None:
    """Waits until `look` returns what is expected; says what it returned last."""
    until = time.monotonic() + WAIT_SECONDS
    while (seen := look()) != expected:
        if time.monotonic() > until:
            assert seen == expected, f"still so after {WAIT_SECONDS} s"
        time.sleep(0.05)
