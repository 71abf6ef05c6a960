# SPDX-License-Identifier: Apache-2.0
"""A pod in the running lab, and every way to it and from it that the collection uses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LabCommand

PORT = 8123
# Serves its own folder, and says in its log whether the API server answers at the cluster's own address.
PROGRAM = f"""
import http.server, os, ssl, urllib.request
there = ssl.create_default_context(cafile="/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
address = f"https://{{os.environ['KUBERNETES_SERVICE_HOST']}}/version"
print("version", urllib.request.urlopen(address, context=there).status, flush=True)
http.server.HTTPServer(("", {PORT}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def pod(lab: LabCommand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    registry = next(
        line.split()[1] for line in lab("status").splitlines() if line.startswith("registry  ") and ":" in line
    )
    container: dict[str, object] = {
        "name": "one",
        "image": f"{registry}/lab/base:bookworm",
        "command": ["python3", "-c", PROGRAM],
    }
    # Started is not yet serving: the probe makes Ready mean that the program has come to its last line.
    container["readinessProbe"] = {"httpGet": {"port": PORT, "path": "/etc/hostname"}, "periodSeconds": 1}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lab-test"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    file: Path = tmp_path_factory.mktemp("pod") / "pod.json"
    file.write_text(json.dumps(manifest))
    lab("kubectl", "delete", "pod", "lab-test", "--ignore-not-found", "--wait")  # of a run that was killed
    lab("kubectl", "apply", "-f", str(file))
    lab("kubectl", "wait", "--for=condition=Ready", "pod/lab-test", "--timeout=300s")
    yield "lab-test"
    lab("kubectl", "delete", "pod", "lab-test", "--wait")


def test_logs_say_that_the_api_server_was_reached(lab: LabCommand, pod: str) -> None:
    assert "version 200" in lab("kubectl", "logs", pod)


def test_exec_runs_on_the_nodes_kernel(lab: LabCommand, pod: str) -> None:
    node = lab.get("pod", pod)["spec"]["nodeName"]
    kernel = lab.get("node", node)["status"]["nodeInfo"]["kernelVersion"]
    assert lab("kubectl", "exec", pod, "--", "uname", "-r").strip() == kernel
    assert lab("ssh", node, "uname", "-r").strip() == kernel


def test_http_through_the_api_server(lab: LabCommand, pod: str) -> None:
    uri = f"/api/v1/namespaces/default/pods/{pod}:{PORT}/proxy/etc/hostname"
    assert lab("kubectl", "get", "--raw", uri).strip() == pod


def test_the_node_has_the_hardware(lab: LabCommand) -> None:
    devices = "cat /sys/bus/pci/devices/*/uevent"
    assert "PCI_ID=1234:11E8" in lab("ssh", "node-1", devices)


def test_a_service_account_can_be_had_for_a_credential(lab: LabCommand) -> None:
    lab("token")
    given = json.loads(lab("token"))  # a second time too
    who = ["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]
    access = [f"--server={given['server']}", f"--certificate-authority={given['ca_file']}", f"--token={given['token']}"]
    assert lab("kubectl", "--kubeconfig=/dev/null", *access, *who) == "system:serviceaccount:default:automation"


def test_kubelet_restart_keeps_pods(lab: LabCommand, pod: str) -> None:
    """A kubelet reports its node as soon as it has started; until then all that can be read is of the one before."""

    def started() -> object:
        return lab.get("pod", pod)["status"]["containerStatuses"][0]["state"]

    def heartbeat() -> str:
        conditions = lab.get("node", "node-1")["status"]["conditions"]
        return next(c["lastHeartbeatTime"] for c in conditions if c["type"] == "Ready")

    before, told = started(), heartbeat()
    lab("restart-kubelet", "node-1")
    end = time.monotonic() + 300
    while heartbeat() == told:
        assert time.monotonic() < end, "the kubelet does not report its node"
        time.sleep(1)
    lab("kubectl", "wait", "--for=condition=Ready", "node/node-1", "--timeout=300s")
    assert started() == before
