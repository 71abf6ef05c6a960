# SPDX-License-Identifier: Apache-2.0
"""What the host measures with a fake kubelet, on the lab's node with the real one. Times are printed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Lab, wait_for

HERE = Path(__file__).parent
RESTARTS, FAULTS, POLLED = 20, 200, 10
BOUND = 5.0  # seconds, issued by an emulated node
SITE, MEASURED = "example.com/ptemplate", "example.com/measured"
PLUGIN = ("-n", "ptemplate", "-l", "app.kubernetes.io/name=ptemplate-device-plugin")
POD, TEAM = "measure", "default"
HOST_PATHS = {
    "/host/dev": "/dev",
    "/var/lib/kubelet/device-plugins": "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet/pod-resources": "/var/lib/kubelet/pod-resources",
    "/sys/kernel/debug": "/sys/kernel/debug",
}


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def plugin_pod(lab: Lab) -> dict[str, Any]:
    (pod,) = lab.get("pods", *PLUGIN)["items"]
    return pod


def whole(lab: Lab) -> bool:
    return lab.allocatable(SITE) == 5 * len(lab.nodes)


@pytest.fixture(autouse=True)
def _healthy(lab: Lab) -> None:
    wait_for("healthy before the test", lambda: whole(lab), 300)


def test_twenty_restarts_of_the_kubelet(lab: Lab, say: Callable[[str], None]) -> None:
    before = plugin_pod(lab)
    url = f"http://{before['status']['podIP']}:9400/metrics"
    script = (HERE / "in_node_restarts.py").read_text()
    said = lab.run("lab/lab", "ssh", lab.nodes[0], f"python3 - {url} {RESTARTS}", text=script)
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    times = [row["seconds"] for row in rows]
    assert len(rows) == RESTARTS
    assert len({row["process"] for row in rows}) == 1, "the plugin's process was another"
    wait_for("devices back after the last restart", lambda: whole(lab), 300)
    after = plugin_pod(lab)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    say(
        f"{RESTARTS} restarts of the real kubelet: registered again after worst {max(times):.2f} s, "
        f"median {statistics.median(times):.2f} s, by the same process"
    )


@pytest.fixture
def pod(lab: Lab) -> Iterator[str]:
    """One that may make faults and ask the kubelet, which the plugin's own may not."""
    image = plugin_pod(lab)["spec"]["containers"][0]["image"]
    container = {
        "name": "one",
        "image": image,
        "command": ["sh", "-c", "trap exit TERM; sleep 3600 & wait"],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": f"v{at}", "mountPath": path} for at, path in enumerate(HOST_PATHS)],
    }
    volumes = [{"name": f"v{at}", "hostPath": {"path": path}} for at, path in enumerate(HOST_PATHS.values())]
    spec = {"nodeName": lab.nodes[0], "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 2}
    item = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": TEAM}, "spec": spec}
    lab.run("lab/lab", "kubectl", "create", "-f", "-", text=json.dumps(item))
    try:
        lab.kubectl("-n", TEAM, "wait", f"pod/{POD}", "--for=condition=Ready", "--timeout=120s")
        for path in (HERE / "in_pod_faults.py", ROOT / "tests" / "bench" / "minimal_plugin.py"):
            copy = ("sh", "-c", f"cat > /tmp/{path.name}")
            lab.run("lab/lab", "kubectl", "-n", TEAM, "exec", "-i", POD, "--", *copy, text=path.read_text())
        yield POD
    finally:
        lab.kubectl("-n", TEAM, "delete", "pod", POD, "--wait=true")


def measured(lab: Lab, pod: str, *arguments: str) -> dict[str, list[float]]:
    said = lab.kubectl("-n", TEAM, "exec", pod, "--", "python3", "/tmp/in_pod_faults.py", *arguments)
    return json.loads(said.splitlines()[-1])


def test_faults_reach_the_real_kubelet(lab: Lab, pod: str, say: Callable[[str], None]) -> None:
    ours = measured(lab, pod, "ours", "error", str(FAULTS))
    polled = measured(lab, pod, "minimal", "removed", str(POLLED))
    assert {key: len(times) for key, times in ours.items()} == {"down": FAULTS, "up": FAULTS}
    for name, found in ((f"{FAULTS} faults", ours), (f"{POLLED} faults, minimal plugin that polls", polled)):
        for what, times in found.items():
            p50, p99 = (percentile(times, part) for part in (0.5, 0.99))
            way = "fault to unhealthy" if what == "down" else "and back"
            say(f"{name}, {way} at the real kubelet: p50 {p50:.3f} s, p99 {p99:.3f} s")
    assert percentile(ours["down"], 0.99) < BOUND
