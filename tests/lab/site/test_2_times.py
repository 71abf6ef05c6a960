# SPDX-License-Identifier: Apache-2.0
"""What the host measures with a fake kubelet, on the lab's node with the real one. Times are printed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Lab, wait_for

HERE = Path(__file__).parent
RESTARTS, FAULTS, POLLED = 20, 200, 10
BOUND = 5.0  # seconds, issued by an emulated node
SITE, MEASURED = "example.com/ptemplate", "example.com/measured"
POD, TEAM, PORT = "measure", "default", 9401
HOST_PATHS = {
    "/host/dev": "/dev",
    "/var/lib/kubelet/device-plugins": "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet/pod-resources": "/var/lib/kubelet/pod-resources",
    "/sys/kernel/debug": "/sys/kernel/debug",
}


def p50_and_p99(seconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49], cuts[98]


def whole(lab: Lab) -> bool:
    return lab.allocatable(SITE) == 5 * len(lab.nodes)


@pytest.fixture(autouse=True)
def _healthy(lab: Lab) -> None:
    wait_for("healthy before the test", lambda: whole(lab), 300)


@pytest.fixture
def image(lab: Lab) -> str:
    (plugin,) = lab.get("daemonset", "-n", "ptemplate", "-l", "app.kubernetes.io/component=device-plugin")["items"]
    return plugin["spec"]["template"]["spec"]["containers"][0]["image"]


@contextmanager
def pod(lab: Lab, image: str, *command: str) -> Iterator[dict[str, Any]]:
    """Beside the plugin of the site, which goes with the label of KMM whenever the node is not ready."""
    container = {
        "name": "one",
        "image": image,
        "command": command,
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": f"v{at}", "mountPath": path} for at, path in enumerate(HOST_PATHS)],
    }
    volumes = [{"name": f"v{at}", "hostPath": {"path": path}} for at, path in enumerate(HOST_PATHS.values())]
    spec = {"nodeName": lab.nodes[0], "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 2}
    item = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": TEAM}, "spec": spec}
    lab.run("lab/lab", "kubectl", "create", "-f", "-", text=json.dumps(item))
    try:
        lab.kubectl("-n", TEAM, "wait", f"pod/{POD}", "--for=condition=Ready", "--timeout=120s")
        yield lab.get("pod", POD, "-n", TEAM)
    finally:
        lab.kubectl("-n", TEAM, "delete", "pod", POD, "--wait=true")


def test_twenty_restarts_of_the_kubelet(lab: Lab, image: str, say: Callable[[str], None]) -> None:
    plugin = ["python3", "-m", "accelerator_device_plugin", f"--resource={MEASURED}", "--device-glob=/dev/ptemplate-*"]
    with pod(lab, image, *plugin, "--root=/host", f"--http-port={PORT}") as made:
        wait_for("the plugin's devices", lambda: lab.allocatable(MEASURED) == 5, 120)
        url = f"http://{made['status']['podIP']}:{PORT}/metrics"
        script = (HERE / "in_node_restarts.py").read_text()
        said = lab.run("lab/lab", "ssh", lab.nodes[0], f"python3 - {url} {RESTARTS}", text=script)
        wait_for("devices back after the last restart", lambda: lab.allocatable(MEASURED) == 5 and whole(lab), 300)
        (status,) = lab.get("pod", POD, "-n", TEAM)["status"]["containerStatuses"]
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    times = [row["seconds"] for row in rows]
    assert len(rows) == RESTARTS
    assert len({row["process"] for row in rows}) == 1, "the plugin's process was another"
    assert status["restartCount"] == 0
    say(
        f"{RESTARTS} restarts of the real kubelet: registered again after worst {max(times):.2f} s, "
        f"median {statistics.median(times):.2f} s, by the same process"
    )


def measured(lab: Lab, *arguments: str) -> dict[str, list[float]]:
    said = lab.kubectl("-n", TEAM, "exec", POD, "--", "python3", "/tmp/in_pod_faults.py", *arguments)
    return json.loads(said.splitlines()[-1])


def tell(say: Callable[[str], None], name: str, found: dict[str, list[float]]) -> None:
    for what, times in found.items():
        p50, p99 = p50_and_p99(times)
        way = "fault to unhealthy" if what == "down" else "and back"
        say(f"{name}, {way} at the real kubelet: p50 {p50:.3f} s, p99 {p99:.3f} s")


def test_faults_reach_the_real_kubelet(lab: Lab, image: str, say: Callable[[str], None]) -> None:
    with pod(lab, image, "sh", "-c", "trap exit TERM; sleep 3600 & wait"):
        for path in (HERE / "in_pod_faults.py", ROOT / "tests" / "bench" / "minimal_plugin.py"):
            copy = ("sh", "-c", f"cat > /tmp/{path.name}")
            lab.run("lab/lab", "kubectl", "-n", TEAM, "exec", "-i", POD, "--", *copy, text=path.read_text())
        ours = measured(lab, "ours", "error", str(FAULTS))
        tell(say, f"{FAULTS} faults", ours)
        tell(say, f"{POLLED} faults, minimal plugin that polls", measured(lab, "minimal", "removed", str(POLLED)))
    assert {key: len(times) for key, times in ours.items()} == {"down": FAULTS, "up": FAULTS}
    assert p50_and_p99(ours["down"])[1] < BOUND
