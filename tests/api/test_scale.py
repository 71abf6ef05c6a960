# SPDX-License-Identifier: Apache-2.0
"""device_plugin_health on 5,000 nodes in a real API server: verdicts, requests, memory; the time is only told.

ACCELERATOR_SOAK=1: with a device plugin's pod on each of them, instead of on a tenth.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cluster import Modules, api_server
from stand_ins.kube import NODES, PODS, ApiError, Kube, Object

pytestmark = pytest.mark.slow  # 6,000 writes; 15,000 with all pods

NODE_COUNT, PAGE, WRITERS, TRIES = 5000, 500, 8, 10
WITH_POD = NODE_COUNT if os.environ.get("ACCELERATOR_SOAK") else PAGE
LEAST_BYTES = 8 * 1024  # of a Node
MOST_MIB, GOAL_SECONDS = 300, 10
RESOURCE, READY = "acme.example/widget", "kmm.node.kubernetes.io/default.widget.ready"
HARDWARE, WATCHED, PLUGIN = {"widget.present": "true"}, {"watched": "true"}, {"app": "plugin"}
EXPECTED = 5
# What the module is started with, so that its own memory is known and not that of Ansible around it.
INTERPRETER = """#!{python}
import json, resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.run([sys.executable, *sys.argv[1:]]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
with open({told!r}, "w") as told:
    took = {{"seconds": time.monotonic() - began, "processor": usage.ru_utime + usage.ru_stime}}
    json.dump({{"mib": usage.ru_maxrss / 1024, **took}}, told)
sys.exit(code)
"""


@dataclass(frozen=True)
class Kind:
    """How a node is, and what should be said of it."""

    verdict: str
    advertised: int = EXPECTED
    allocatable: int = EXPECTED
    ready: bool = True
    driver: bool = True
    plugin: bool = True


WELL, BARE, EACH = Kind("ok"), Kind("ok", plugin=False), 8  # of each kind of ill ones
ILL = (
    Kind("node_not_ready", ready=False),
    Kind("no_driver", driver=False),
    Kind("no_plugin", 0, 0, plugin=False),
    Kind("stale", allocatable=0, plugin=False),
    # Its plugin is asked, and nobody is behind the proxy: also that is told.
    Kind("plugin_failing", allocatable=3),
)


@dataclass
class Fleet:
    kube: Kube
    modules: Modules
    told: Path
    say: Callable[[str], None] = print

    def health(self, **options: Any) -> dict[str, Any]:
        wanted = {"resource": RESOURCE, "namespace": "default", "nodes": HARDWARE, "plugin_labels": PLUGIN}
        options = {"ready_label": READY, "expected": EXPECTED, **wanted, **options}
        result = self.modules.run("device_plugin_health", **options)
        used = json.loads(self.told.read_text())
        entries = result["ansible_facts"]["accelerator_health"]["nodes"]
        self.say(
            f"{len(entries)} nodes: {used['seconds']:.1f} s (goal: under {GOAL_SECONDS} s), {result['elapsed']:.1f} s "
            f"of it to read and judge, {used['processor']:.1f} s on the processor; {used['mib']:.0f} MiB (goal: under "
            f"{MOST_MIB} MiB); {result['requests']} requests"
        )
        assert used["mib"] < MOST_MIB
        return result

    def add(self, kinds: Mapping[str, Kind]) -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda name: put(self.kube, name, kinds[name]), kinds))

    def remove(self, kinds: Mapping[str, Kind]) -> None:
        for name in kinds:
            self.kube.delete(NODES, name)


def node_of(name: str, kind: Kind) -> Object:
    """As large as nodes are where NFD labels them and images are listed."""
    node = NODES.new(name)
    labels = {f"feature.node.kubernetes.io/cpu-cpuid.FEATURE{number:02}": "true" for number in range(60)}
    ours = {**HARDWARE, **({READY: ""} if kind.driver else {}), **(WATCHED if kind == WELL else {})}
    node["metadata"]["labels"] = {**labels, **ours}
    counts = {
        "capacity": {RESOURCE: str(kind.advertised), "cpu": "64", "memory": "256Gi", "pods": "250"},
        "allocatable": {RESOURCE: str(kind.allocatable), "cpu": "63", "memory": "250Gi", "pods": "250"},
    }
    conditions = [
        {
            "type": "Ready",
            "status": str(kind.ready),
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
        }
    ]
    images = [
        {"names": [f"registry.example/team/{name}-{number}@sha256:{number:064x}"], "sizeBytes": number}
        for number in range(50)
    ]
    return {**node, "status": {**counts, "conditions": conditions, "images": images}}


def pod_of(node: str) -> Object:
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": False}
    pod = PODS.new(f"plugin-{node}", "default", spec=spec)
    pod["metadata"]["labels"] = dict(PLUGIN)
    return pod


def patiently(write: Callable[[], Any]) -> None:
    """Beside a lab a write may take longer than the client waits, and be done all the same."""
    for _again in range(TRIES):
        try:
            write()
            return
        except ApiError as error:
            if error.status == 409:  # an earlier try made it
                return
            if error.status < 500:
                raise
        except urllib3.exceptions.HTTPError:
            pass
    write()


def put(kube: Kube, name: str, kind: Kind) -> None:
    node, pod = node_of(name, kind), pod_of(name)
    patiently(lambda: kube.create(NODES, node))
    if kind.verdict != "ok":
        # What the API server put on a new node and the controller manager would take off.
        patiently(lambda: kube.merge(NODES, node, {"spec": {"taints": None}}))
    if kind.plugin:
        running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        patiently(lambda: kube.create(PODS, pod))
        patiently(lambda: kube.merge(PODS, pod, {"status": running}, "status"))


def verdicts(result: dict[str, Any]) -> Counter[str]:
    return Counter(one["verdict"] for one in result["ansible_facts"]["accelerator_health"]["nodes"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("scale")
    told, python = folder / "told.json", folder / "python"
    python.write_text(INTERPRETER.format(python=sys.executable, told=str(told)))
    python.chmod(0o755)
    assert len(json.dumps(node_of("node-0000", WELL))) > LEAST_BYTES
    with api_server(folder) as kube:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        patiently(lambda: kube.request("POST", "/api/v1/namespaces/default/serviceaccounts", account))
        fleet = Fleet(kube, Modules(next(folder.glob("kubeconfigs/*.yml")), python=str(python)), told)
        fleet.add({f"node-{number:04}": WELL if number < WITH_POD else BARE for number in range(NODE_COUNT)})
        yield fleet


@pytest.fixture
def fleet(large: Fleet, say: Callable[[str], None]) -> Fleet:
    return replace(large, say=say)


BESIDE = 2  # requests for what plugins left behind: the other nodes, and the pods that failed


def pages(number: int) -> int:
    return math.ceil(number / PAGE)


def test_where_all_is_well_only_the_nodes_are_read(fleet: Fleet) -> None:
    result = fleet.health()
    assert verdicts(result) == {"ok": NODE_COUNT}
    assert result["requests"] == pages(NODE_COUNT) + BESIDE


def test_a_wait_for_all_looks_at_the_plugins_too(fleet: Fleet) -> None:
    result = fleet.health(nodes=WATCHED, wait=True, expected_nodes=WITH_POD)
    assert verdicts(result) == {"ok": WITH_POD}
    others = NODE_COUNT - WITH_POD  # of which one page, that is empty, ends the list of the watched ones
    look = pages(WITH_POD) + bool(others) + pages(WITH_POD)
    assert result["requests"] == 2 * look + max(1, pages(others)) + 1, "one look more when all are well"


def test_a_few_that_are_ill_are_found_among_them(fleet: Fleet) -> None:
    kinds = {f"ill-{number:02}": kind for number, kind in enumerate(ILL * EACH)}
    asked = sum(kind.plugin and kind.ready for kind in kinds.values())
    fleet.add(kinds)
    try:
        result = fleet.health()
    finally:
        fleet.remove(kinds)
    health = result["ansible_facts"]["accelerator_health"]
    assert verdicts(result) == {"ok": NODE_COUNT, **{kind.verdict: EACH for kind in ILL}}
    said = {one["node"]: one["verdict"] for one in health["nodes"]}
    assert {name: said[name] for name in kinds} == {name: kind.verdict for name, kind in kinds.items()}
    assert {one["node"] for one in health["stale"]} == {name for name in kinds if kinds[name].verdict == "stale"}
    nodes, pods = NODE_COUNT + len(kinds), WITH_POD + sum(kind.plugin for kind in kinds.values())
    assert result["requests"] == pages(nodes) + pages(pods) + asked + BESIDE
