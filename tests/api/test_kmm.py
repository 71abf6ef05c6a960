# SPDX-License-Identifier: Apache-2.0
"""KMM's stand-in on a real API server; a fake kubelet plays the pods, so that no node is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import FakeKubelet, eventually, report
from stand_ins.controller import install_definitions
from stand_ins.kmm import IMAGES, MODULES, NODE_CONFIGS, Kmm
from stand_ins.kube import NAMESPACES, NODES, PODS, ApiError, Kube, Object
from stand_ins.placement import ready_label, version_label, version_ready_label

IMAGE = "registry.example.com/driver:1.0-${KERNEL_FULL_VERSION}"
PULLED = "registry.example.com/driver:1.0-6.1.0-9-amd64"
ALL = {"nodesMatchingSelectorNumber": 1, "desiredNumber": 1, "availableNumber": 1}


@pytest.fixture
def driver(
    kube: Kube, namespace: str, node: Object, play: Callable[..., None], kubelet: FakeKubelet
) -> Iterator[Driver]:
    install_definitions(kube, "kmm", "test")
    play(Kmm(kube, "worker:1"))
    driver = Driver(kube, namespace, kubelet)
    yield driver
    kubelet.mend()
    kube.delete(MODULES, "m", namespace)
    driver.gone()


class Driver:
    """A Module named "m", and what can be seen of it."""

    def __init__(self, kube: Kube, namespace: str, kubelet: FakeKubelet) -> None:
        self.kube, self.namespace, self.kubelet = kube, namespace, kubelet

    def module(self, name: str = "m", image: str = IMAGE, version: str = "1.0", **spec: Any) -> Object:
        container = {
            "modprobe": {"moduleName": "driver", "parameters": ["count=5", "text=two words"]},
            "kernelMappings": [{"regexp": r"^6\.", "containerImage": image}],
        }
        if version:
            container["version"] = version
        spec = {"selector": {"accelerator": "present"}, "moduleLoader": {"container": container}, **spec}
        return MODULES.new(name, self.namespace, spec=spec)

    def apply(self, **changes: Any) -> None:
        self.kube.apply(MODULES, self.module(**changes), "test")

    def version(self, version: str | None) -> None:
        self.node_labels({version_label(self.namespace, "m"): version})

    def node_labels(self, labels: dict[str, str | None]) -> None:
        self.kube.merge(NODES, NODES.new("worker-1"), {"metadata": {"labels": labels}})

    def load(self) -> None:
        self.version("1.0")
        self.apply()
        eventually(self.counters, ALL)
        eventually(self.ready, {"ready", "version.ready"})

    def counters(self) -> Object:
        status = (self.kube.get(MODULES, "m", self.namespace) or {}).get("status", {})
        return status.get("moduleLoader", {})

    def ready(self) -> set[str]:
        labels = (self.kube.get(NODES, "worker-1") or {})["metadata"].get("labels", {})
        names = {ready_label: "ready", version_ready_label: "version.ready"}
        return {name for label, name in names.items() if label(self.namespace, "m") in labels}

    def on_node(self) -> list[Object]:
        return (self.kube.get(NODE_CONFIGS, "worker-1") or {}).get("status", {}).get("modules", [])

    def workers(self) -> list[str]:
        return [line for line in self.kubelet.seen if line.startswith("kmm-worker")]

    def gone(self) -> None:
        eventually(lambda: self.kube.get(MODULES, "m", self.namespace), None)


LOAD = "kmm-worker-worker-1-m -d /tmp/opt driver count=5 text=two words"
UNLOAD = "kmm-worker-worker-1-m -d /tmp/opt -r driver"


def test_a_module_is_loaded_and_unloaded(driver: Driver) -> None:
    driver.load()
    images = driver.kube.get(IMAGES, "m", driver.namespace) or {}
    assert images["status"]["imagesStates"] == [{"image": PULLED, "status": "Exists"}]
    [status] = driver.on_node()
    assert (status["bootId"], status["config"]["containerImage"]) == ("boot-1", PULLED)
    assert driver.workers() == [LOAD]

    driver.kube.delete(MODULES, "m", driver.namespace)
    driver.gone()
    assert driver.workers() == [LOAD, UNLOAD]
    assert (driver.ready(), driver.on_node()) == (set(), [])


def test_nothing_is_loaded_without_the_version_label(driver: Driver) -> None:
    driver.apply()
    eventually(driver.counters, {"nodesMatchingSelectorNumber": 1, "desiredNumber": 0, "availableNumber": 0})
    driver.version("1.0")
    eventually(driver.counters, ALL)
    driver.version(None)
    eventually(driver.on_node, [])
    assert driver.workers() == [LOAD, UNLOAD]


def test_another_version_waits_for_the_label(driver: Driver) -> None:
    driver.load()
    driver.apply(version="2.0", image="registry.example.com/driver:2.0")
    eventually(lambda: [name for name in driver.kubelet.seen if "pull-pod" in name][1:] != [], True)
    assert driver.workers() == [LOAD]
    driver.version("2.0")
    eventually(driver.workers, [LOAD, UNLOAD, LOAD])
    eventually(lambda: [s["version"] for s in driver.on_node()], ["2.0"])


def test_a_taint_unloads_and_a_toleration_does_not(driver: Driver) -> None:
    driver.load()
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    driver.kube.merge(NODES, NODES.new("worker-1"), {"spec": {"taints": [cordon]}})
    eventually(driver.counters, {"nodesMatchingSelectorNumber": 0, "desiredNumber": 0, "availableNumber": 0})
    eventually(driver.ready, set())
    driver.apply(tolerations=[{"key": cordon["key"], "operator": "Exists"}])
    eventually(driver.counters, ALL)


def test_a_node_that_does_not_match_any_more(driver: Driver) -> None:
    driver.load()
    driver.node_labels({"accelerator": None})
    eventually(driver.on_node, [])
    assert driver.workers() == [LOAD, UNLOAD]


def test_loaded_again_after_a_boot(driver: Driver) -> None:
    driver.load()
    report(driver.kube, "boot-2")
    eventually(lambda: [s["bootId"] for s in driver.on_node()], ["boot-2"])
    eventually(driver.ready, {"ready", "version.ready"})
    assert driver.workers() == [LOAD, LOAD], "a boot has unloaded it"


def test_an_image_that_cannot_be_pulled(driver: Driver) -> None:
    """Real KMM leaves the pull pod waiting, and places nothing."""
    driver.kubelet.broken = {PULLED}
    driver.version("1.0")
    driver.apply()
    eventually(driver.counters, {"nodesMatchingSelectorNumber": 1, "desiredNumber": 0, "availableNumber": 0})
    [pod] = driver.kube.list(PODS, "kmm.node.kubernetes.io/pull-pod-type")
    assert pod["metadata"]["name"].startswith("m-pull-pod-")
    driver.kubelet.mend()
    eventually(driver.counters, ALL)


def test_a_module_that_does_not_load_can_be_deleted(driver: Driver) -> None:
    driver.kubelet.broken = {"worker:1"}
    driver.version("1.0")
    driver.apply()
    eventually(driver.counters, ALL | {"availableNumber": 0})
    eventually(lambda: len(driver.kube.list(PODS, "kmm.node.kubernetes.io/worker-action=Load")), 1)
    assert driver.ready() == set()
    driver.kube.delete(MODULES, "m", driver.namespace)
    driver.gone()
    assert driver.kube.list(PODS, "kmm.node.kubernetes.io/worker-action") == []


def test_a_device_plugin_runs_where_the_module_is(driver: Driver) -> None:
    driver.version("1.0")
    driver.apply(devicePlugin={"container": {"image": "plugin:1"}})
    path = f"/apis/apps/v1/namespaces/{driver.namespace}/daemonsets"
    eventually(lambda: len(driver.kube.request("GET", path)["items"]), 1)
    [plugin] = driver.kube.request("GET", path)["items"]
    pod = plugin["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {ready_label(driver.namespace, "m"): ""}
    assert pod["containers"][0]["securityContext"] == {"privileged": True}


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "from a version to none": ({"version": ""}, "a version cannot be changed from or to empty"),
    "no tag": ({"image": "localhost:5000/driver"}, "every container image must have a tag or a digest"),
    "name too long": ({"name": "m" * 41}, "at most 41 are allowed"),
    "host path": (
        {"devicePlugin": {"container": {"image": "p:1"}, "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}},
        "a hostPath of devicePlugin is below",
    ),
}


@pytest.mark.parametrize("change", REFUSALS)
def test_the_webhook_refuses(driver: Driver, change: str) -> None:
    changes, reason = REFUSALS[change]
    driver.apply()
    module = driver.module(**changes)
    eventually(lambda: reason in said(driver.kube.apply, MODULES, module, "test", "", "&dryRun=All"), True)


def said(request: Callable[..., Any], *arguments: Any) -> str:
    """The API server's refusal. A policy takes a moment to be in force."""
    try:
        request(*arguments)
    except ApiError as error:
        return str(error)
    return "accepted"


def test_a_namespace_with_modules_stays(driver: Driver) -> None:
    driver.load()
    delete = (driver.kube.request, "DELETE", NAMESPACES.path(driver.namespace), {"dryRun": ["All"]})
    eventually(lambda: "contains one or more Module resources" in said(*delete), True)
    driver.kube.delete(MODULES, "m", driver.namespace)
    driver.gone()
    assert said(*delete) == "accepted"
