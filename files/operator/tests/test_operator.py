# SPDX-License-Identifier: Apache-2.0
"""The operator's process against a real API server, under its own rights."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from accelerator_site import Site
from cluster import eventually
from lightkube.generic_resource import create_namespaced_resource

pytestmark = pytest.mark.slow


@pytest.fixture
def nodes(site: Site) -> Iterator[list[str]]:
    names = [f"{site.name}-node-{number}" for number in (1, 2)]
    yield names
    for name in names:
        if site.cluster.get("Node", name):
            site.cluster.delete("Node", name)


def test_from_nothing_to_ready_each_missing_link_is_named(site: Site, nodes: list[str]) -> None:
    site.create()
    assert "expected at least 1 schedulable" in site.becomes("NoMatchingNodes")
    site.add_node(nodes[0])
    assert f"node {nodes[0]}: driver {site.name}_mod expected on 1 node(s)" in site.becomes("ModuleNotLoaded")
    assert site.version_label(nodes[0])
    site.load_module(nodes[0])
    site.becomes("DevicePluginNotReady")
    site.run_device_plugin(nodes[0])
    site.becomes("ConsumerNotRunning")
    pod = site.run_consumer(nodes[0])
    assert f"5 {site.definition['resource']} allocatable on 1 node(s)" in site.becomes("AsExpected")
    status = site.resource()["status"]
    assert status["consumers"] == [pod]
    assert status["nodes"] == {"matching": 1, "moduleLoaded": 1, "devicesReady": 1}
    assert status["devices"] == {"expected": 5, "allocatable": 5}
    assert {kind: condition[0] for kind, condition in site.conditions().items()} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
        "Upgradeable": "True",
    }
    metrics = site.http(0, "/metrics")
    assert f"{site.kind}_consumers 1.0" in metrics
    assert f"{site.kind}_reconcile_count " in metrics
    assert f"{site.kind}_reconcile_errors_total 0.0" in metrics
    assert site.http(1, "/healthz") == "{}"


def test_nothing_is_written_when_nothing_changed(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    _settle(site)
    versions, count, log = _versions(site), _reconciles(site), site.log.read_text()
    # An event that changes nothing: every object is looked at again, none is sent.
    site.cluster.merge("Node", nodes[0], {"metadata": {"labels": {"unrelated": "label"}}})
    eventually(lambda: _reconciles(site) > count)
    _settle(site)
    assert site.log.read_text() == log
    site.stop()
    site.start()  # nothing is remembered: each is sent once, and the API server finds nothing to write
    eventually(lambda: site.log.read_text().count("applied Deployment") == 2, 30)
    _settle(site)
    assert _versions(site) == versions
    assert site.log.read_text().count("applied Deployment") == 2


@pytest.mark.parametrize("kind", ["DaemonSet", "Service", "Module"])
def test_what_is_deleted_comes_back(site: Site, nodes: list[str], kind: str) -> None:
    site.make_ready(nodes[0])
    before = next(obj for (found, _), obj in site.objects().items() if found == kind)
    site.cluster.delete(kind, before["metadata"]["name"], site.namespace)
    if kind == "Service":  # not watched: the next look at anything finds it
        site.cluster.merge("Node", nodes[0], {"metadata": {"labels": {"unrelated": "label"}}})

    def back() -> bool:
        live = site.cluster.get(kind, before["metadata"]["name"], site.namespace)
        return bool(live) and live["metadata"]["uid"] != before["metadata"]["uid"]

    eventually(back, 5)


def test_what_is_changed_by_hand_is_put_back(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    name = f"{site.name}-device-plugin"
    wanted = site.get("DaemonSet", "-device-plugin")["spec"]["template"]["spec"]["nodeSelector"]
    key = next(iter(wanted))
    change = {"spec": {"template": {"spec": {"nodeSelector": {key: "changed"}}}}}
    site.cluster.merge("DaemonSet", name, change, site.namespace)
    eventually(
        lambda: site.get("DaemonSet", "-device-plugin")["spec"]["template"]["spec"]["nodeSelector"][key] == wanted[key],
        5,
    )


def test_nodes_come_and_go(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    site.add_node(nodes[1])
    assert f"node {nodes[1]}" in site.becomes("ModuleNotLoaded")
    eventually(lambda: site.version_label(nodes[1]))
    site.load_module(*nodes)
    site.run_device_plugin(*nodes)
    site.becomes("AsExpected")
    site.set_devices(nodes[1], 3)
    assert f"node {nodes[1]}: expected 5 {site.definition['resource']} allocatable, seen 3" in site.becomes(
        "DevicesMissing"
    )
    # The hardware is taken out: the label goes, and with it ours.
    site.cluster.merge("Node", nodes[1], {"metadata": {"labels": {f"example.com/{site.name}": None}}})
    eventually(lambda: not site.version_label(nodes[1]))
    site.load_module(nodes[0])
    site.run_device_plugin(nodes[0])
    site.becomes("AsExpected")


def test_a_restart_of_the_api_server_is_survived(site: Site, nodes: list[str]) -> None:
    """Also where a Node goes before the operator watches again, and one of the same name comes."""
    site.make_ready(*nodes)
    assert site.process
    site.process.send_signal(signal.SIGSTOP)
    site.cluster.start_api_server(site.cluster.kill_api_server())
    site.cluster.delete("Node", nodes[0])
    site.cluster.delete("Node", nodes[1])
    site.add_node(nodes[1])
    site.process.send_signal(signal.SIGCONT)
    assert f"node {nodes[1]}: driver" in site.becomes("ModuleNotLoaded", 60)
    site.load_module(nodes[1])
    site.run_device_plugin(nodes[1])
    one = {"matching": 1, "moduleLoaded": 1, "devicesReady": 1}
    eventually(lambda: site.resource()["status"]["nodes"] == one, 60, lambda: site.resource()["status"])
    site.becomes("AsExpected")
    assert site.process.poll() is None, "the same process all along"


def test_the_reason_of_a_pod_that_does_not_start_is_told(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    pod = site.run_consumer(nodes[0])
    waiting = {"name": "consumer", "ready": False, "restartCount": 3, "image": "i", "imageID": ""}
    waiting["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
    status = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [waiting]}
    site.cluster.merge("Pod", pod, {"status": status}, site.namespace, status=True)
    down = {"status": {"availableReplicas": 0, "readyReplicas": 0}}
    site.cluster.merge("Deployment", f"{site.name}-consumer", down, site.namespace, status=True)
    assert f"pod {pod}: CrashLoopBackOff: back-off 40s" in site.becomes("ConsumerNotRunning")
    assert site.conditions()["Degraded"][0] == "True"
    assert site.resource()["status"]["consumers"] == []


def test_a_changed_spec_is_carried_out(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    image = "registry.example/other/consumer:2"
    site.cluster.merge(site.kind, site.name, {"spec": {"consumer": image}}, site.namespace)
    eventually(
        lambda: site.get("Deployment", "-consumer")["spec"]["template"]["spec"]["containers"][0]["image"] == image
    )
    site.becomes("ConsumerNotRunning")  # the new generation is not rolled out yet
    site.cluster.merge(site.kind, site.name, {"spec": {"consumer": None}}, site.namespace)
    eventually(lambda: site.get("Deployment", "-consumer") is None)
    site.becomes("AsExpected")


def test_a_changed_parameter_is_not_ready_by_what_kmm_said_before(site: Site, nodes: list[str]) -> None:
    """KMM's status of a Module names no generation; a moment later it is taken at its word."""
    site.make_ready(nodes[0])
    module = site.get("Module")
    assert module
    before = module["metadata"]["generation"]
    image = "registry.example/other/driver:1"
    site.cluster.merge(site.kind, site.name, {"spec": {"driver": {"image": image}}}, site.namespace)
    eventually(lambda: (site.get("Module") or module)["metadata"]["generation"] > before)
    site.becomes("ModuleChanged")
    site.becomes("AsExpected")


def test_deletion_unloads_in_order_and_leaves_nothing(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "foreign", "namespace": site.namespace}}
    foreign["spec"] = {"nodeName": nodes[0], "containers": [{"name": "c", "image": "none"}]}
    site.cluster.apply(foreign)
    hold = {"metadata": {"finalizers": ["example.com/kmm"]}}
    site.cluster.merge("Module", site.name, hold, site.namespace)  # KMM has yet to unload
    site.cluster.delete(site.kind, site.name, site.namespace)

    assert "Pod" in site.becomes("Deleting")
    eventually(lambda: site.get("Deployment", "-consumer") is None)
    assert site.get("DaemonSet", "-device-plugin"), "the plugin goes after the consumer's pods"
    site.stop(kill=True)  # a deletion survives the operator
    site.start()
    _end_pod(site, f"{site.name}-consumer-1")
    eventually(lambda: site.get("DaemonSet", "-device-plugin") is None)
    eventually(lambda: "deletionTimestamp" in site.get("Module")["metadata"])
    eventually(lambda: "a process holds a device" in site.conditions()["Ready"][2])
    assert site.version_label(nodes[0]), "the label goes after the module"
    assert site.get("ServiceAccount", "-driver"), "KMM's workers need it to unload"

    site.cluster.merge("Module", site.name, {"metadata": {"finalizers": None}}, site.namespace)
    eventually(lambda: site.resource() is None, message=lambda: (site.conditions(), site.log.read_text()[-2000:]))
    assert site.objects() == {}
    assert site.version_label(nodes[0]) is None
    assert site.cluster.get("Pod", "foreign", site.namespace)


def test_one_custom_resource_is_served_per_accelerator(site: Site, nodes: list[str]) -> None:
    site.make_ready(nodes[0])
    site.create("second")
    assert f"belongs to {site.kind} {site.name}" in site.becomes("Conflict", name="second")
    site.cluster.delete(site.kind, "second", site.namespace)
    eventually(lambda: site.resource("second") is None)
    assert site.get("Module"), "deleting the second touches nothing of the first"
    assert site.version_label(nodes[0])


def test_a_refused_object_is_reported_and_tried_again(site: Site, nodes: list[str]) -> None:
    """KMM's webhook refuses things that its CRD accepts; here a full quota stands for it."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": site.namespace}}
    quota["spec"] = {"hard": {"count/modules.kmm.sigs.x-k8s.io": "0"}}
    site.cluster.resources["ResourceQuota"] = create_namespaced_resource("", "v1", "ResourceQuota", "resourcequotas")
    site.cluster.apply(quota)
    site.cluster.merge(
        "ResourceQuota", "full", {"status": {"hard": quota["spec"]["hard"], "used": {}}}, site.namespace, status=True
    )
    site.add_node(nodes[0])
    site.create()
    assert f"apply Module {site.name}: " in site.becomes("ApplyFailed")
    assert site.conditions()["Degraded"][0] == "True"
    site.cluster.delete("ResourceQuota", "full", site.namespace)
    site.becomes("ModuleNotLoaded", 30)


def _versions(site: Site) -> dict[str, str]:
    objects = {f"{kind} {name}": obj for (kind, name), obj in site.objects().items()}
    return {at: obj["metadata"]["resourceVersion"] for at, obj in {**objects, "self": site.resource()}.items()}


def _reconciles(site: Site) -> float:
    lines = site.http(0, "/metrics").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{site.kind}_reconcile_count "))


def _settle(site: Site) -> None:
    """Until no reconcile was made for a second."""
    seen = -1.0
    while seen != (seen := _reconciles(site)):
        time.sleep(1)


def _end_pod(site: Site, name: str) -> None:
    site.cluster.client.delete(site.cluster.resources["Pod"], name, namespace=site.namespace, grace_period=0)
