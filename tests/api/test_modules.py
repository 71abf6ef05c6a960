# SPDX-License-Identifier: Apache-2.0
"""The collection's modules on a real API server, run as Ansible runs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition, _health_read, _wait
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api
from cluster import Modules, api_server, report
from kubernetes.config import new_client_from_config
from stand_ins.controller import install_definitions
from stand_ins.kube import CONFIG_MAPS, NODES, PODS, Kube, Object, Resource

CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole")
BINDINGS = Resource("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding")
SELECTOR = {"accelerator": "present"}
# Everything that the play does and grants, but for the status of its custom resource.
EDITOR = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {
        "apiGroups": ["", "apps", "apiextensions.k8s.io", "operators.coreos.com", "rbac.authorization.k8s.io"],
        "resources": ["*"],
        "verbs": ["patch"],
    },
    {
        "apiGroups": ["acme.example", "nfd.openshift.io", "kmm.sigs.x-k8s.io"],
        "resources": ["widgets", "nodefeaturediscoveries", "nodefeaturerules", "modules"],
        "verbs": ["patch"],
    },
]
# Seconds for a first look, and for what is to come to come: these tests run beside a lab, which comes first.
SHORT, LONG = 10, 300


@dataclass
class Cluster(Modules):
    """An API server of this file's own, so that no CRD is there before a test wants it."""

    kube: Kube


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("modules")
    with api_server(folder) as kube:
        yield Cluster(next(folder.glob("kubeconfigs/*.yml")), kube=kube)


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Object]:
    node = NODES.new("worker-1")
    node["metadata"]["labels"] = dict(SELECTOR)
    cluster.kube.create(NODES, node)
    report(cluster.kube, "boot-1")
    yield node
    cluster.kube.delete(NODES, "worker-1")


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    given = {
        "name": "widget",
        "namespace": "default",
        "resource": "acme.example/widget",
        "hardware": {"pci": {"vendor": "1234", "device": "11e8"}},
        "driver": {"module": "widget"},
        "images": {"registry": "registry.example/team", "driver": "registry.example/team/driver:1"},
    }
    return _definition.load(given, {}, "/")


@pytest.fixture
def api(cluster: Cluster) -> Api:
    """The modules' client, in this process: so that a test knows when it watches."""
    return Api(new_client_from_config(str(cluster.kubeconfig)).configuration)


def after(api: Api, requests: int, work: Callable[[], Any]) -> threading.Thread:
    """Does the work as soon as the client has made so many requests."""

    def run() -> None:
        until = time.monotonic() + LONG
        while api.requests < requests and time.monotonic() < until:
            time.sleep(0.02)
        work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait(api: Api, target: _wait.Target, until: str = "@", fail_when: str = "", **options: Any) -> _wait.Outcome:
    failing = _wait.Expression("fail_when", fail_when) if fail_when else None
    rules = _wait.Rules(_wait.Expression("until", until), options.get("expected"), failing)
    return _wait.wait(api, target, rules, LONG)


def test_a_cluster_is_read_in_few_requests(cluster: Cluster, node: Object, definition: dict[str, Any]) -> None:
    result = cluster.run("accelerator_info", definition=definition, check_permissions=True)
    facts = result["ansible_facts"]["accelerator_facts"]
    assert (facts["platform"], facts["server"]) == ("kubernetes", cluster.kube.server)
    assert [(k["version"], k["nodes"]) for k in facts["kernels"]] == [("6.1.0-9-amd64", ["worker-1"])]
    assert "DaemonSet" in facts["apis"]["apps/v1"]
    assert (facts["nfd"]["api"], facts["kmm"]["api"], facts["olm"]["present"]) == (None, None, False)
    assert facts["denied"] == []
    assert facts["written"] is None, "not asked for"
    assert result["requests"] <= 7


def test_no_candidate_node_is_an_error(cluster: Cluster, node: Object) -> None:
    failed = cluster.run("accelerator_info", nodes={"accelerator": "absent"})
    assert "expected at least a Linux node with labels accelerator=absent" in failed["msg"]
    assert "seen 1 nodes, none of them such: worker-1" in failed["msg"]
    allowed = cluster.run("accelerator_info", nodes={"accelerator": "absent"}, allow_no_nodes=True)
    assert allowed["ansible_facts"]["accelerator_facts"]["kernels"] == []


def test_every_missing_permission_is_named_before_anything_changes(
    cluster: Cluster, node: Object, definition: dict[str, Any]
) -> None:
    rules = [{"apiGroups": ["", "apps", "rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"]}]
    cluster.kube.create(CLUSTER_ROLES, CLUSTER_ROLES.new("some", rules=rules))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "some"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}
    cluster.kube.create(BINDINGS, BINDINGS.new("some", roleRef=role, subjects=[subject]))
    options = {"definition": definition, "check_permissions": True}
    failed = cluster.run("accelerator_info", impersonate_user="alice", **options)
    groups = {need["group"] for need in failed["denied"]}
    ours = {"apiextensions.k8s.io", "acme.example"}
    assert groups == ours | {"operators.coreos.com", "nfd.openshift.io", "kmm.sigs.x-k8s.io"}
    assert "get,create,patch,list,watch widgets.acme.example (namespace default)" in failed["msg"]
    # alice may do everything with roles; one who may only write them has to hold what they grant.
    editor = cluster.kube.create(CLUSTER_ROLES, CLUSTER_ROLES.new("editor", rules=EDITOR))
    reference = {**role, "name": editor["metadata"]["name"]}
    cluster.kube.create(BINDINGS, BINDINGS.new("editor", roleRef=reference, subjects=[{**subject, "name": "bob"}]))
    held = cluster.run("accelerator_info", impersonate_user="bob", **options)
    assert {(need["verb"], need["resource"]) for need in held["denied"]} == {("patch", "widgets/status")}
    nobody = cluster.run("accelerator_info", impersonate_user="mallory", **options)
    assert {"verb": "list", "group": "", "resource": "nodes", "namespace": None} in nobody["denied"]
    assert len(nobody["denied"]) > len(failed["denied"])


def test_a_wait_sees_what_comes(cluster: Cluster, api: Api, node: Object) -> None:
    label = "feature.node.kubernetes.io/widget.present"
    work = after(api, 3, lambda: cluster.kube.merge(NODES, node, {"metadata": {"labels": {label: "true"}}}))
    outcome = wait(api, _wait.Target("v1", "Node", labels=[f"{label}=true"]), expected=1)
    work.join()
    assert [item["metadata"]["name"] for item in outcome.seen.items] == ["worker-1"]
    assert api.requests == 3, "discovery, one list, one watch"


def test_a_wait_may_begin_before_its_crd(cluster: Cluster, api: Api) -> None:
    """And before its object: the kind is served, then the object comes."""
    modules = Resource("kmm.sigs.x-k8s.io/v1beta1", "modules", "Module")
    absent = cluster.run("resource_wait", check=True, api_version=modules.api, kind="Module")
    assert (absent["skipped_wait"], absent["resources"]) == (True, [])
    mapping = {"regexp": ".*", "containerImage": "registry.example/driver:1"}
    container = {"modprobe": {"moduleName": "m"}, "kernelMappings": [mapping]}
    spec = {"moduleLoader": {"container": container}, "selector": SELECTOR}

    def come() -> None:
        install_definitions(cluster.kube, "kmm", "test")
        cluster.kube.create(modules, modules.new("m", "default", spec=spec))

    work = after(api, 1, come)
    outcome = wait(api, _wait.Target(modules.api, "Module", "m", "default"))
    work.join()
    assert outcome.seen.matched == 1


def test_a_wait_ends_at_once_when_it_is_in_vain(cluster: Cluster, api: Api) -> None:
    job = cluster.kube.create(CONFIG_MAPS, CONFIG_MAPS.new("job", "default", data={"state": "running"}))
    work = after(api, 3, lambda: cluster.kube.merge(CONFIG_MAPS, job, {"data": {"state": "broken"}}))
    target = _wait.Target("v1", "ConfigMap", "job", "default")
    outcome = wait(api, target, "data.state == 'done'", fail_when="data.state == 'broken'")
    work.join()
    assert outcome.seen.failed
    assert outcome.elapsed < LONG / 2
    failed = cluster.run(
        "resource_wait",
        kind="ConfigMap",
        namespace="default",
        name="job",
        until="data.state == 'done'",
        fail_when="data.state == 'broken'",
        fail_message="data.state",
        what="the job is done",
        next_step="kubectl get configmap job",
    )
    assert failed["msg"] == (
        "the job is done: waiting is in vain; ConfigMap default/job: broken; next: kubectl get configmap job"
    )


def test_a_wait_for_absence(cluster: Cluster, api: Api) -> None:
    cluster.kube.create(CONFIG_MAPS, CONFIG_MAPS.new("going", "default"))
    options = {"kind": "ConfigMap", "name": "going", "namespace": "default", "count": 0}
    short = cluster.run("resource_wait", timeout=SHORT, **options)
    said = f"ConfigMap going in namespace default: not so after {SHORT} s; expected none; seen 1 of 1"
    assert short["msg"].startswith(said)
    work = after(api, 3, lambda: cluster.kube.delete(CONFIG_MAPS, "going", "default"))
    assert wait(api, _wait.Target("v1", "ConfigMap", "going", "default"), expected=0).seen.items == []
    work.join()


def test_health_of_a_node_from_what_the_api_server_has(cluster: Cluster, api: Api, node: Object) -> None:
    options = {
        "resource": "acme.example/widget",
        "namespace": "default",
        "nodes": SELECTOR,
        "plugin_labels": {"app": "plugin"},
        "expected": 2,
    }
    none = cluster.run("device_plugin_health", **options)
    assert none["ansible_facts"]["accelerator_health"]["nodes"][0]["verdict"] == "no_plugin"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    cluster.kube.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    pod = PODS.new("plugin", "default", spec={"nodeName": "worker-1", "containers": [{"name": "c", "image": "i"}]})
    pod["metadata"]["labels"] = {"app": "plugin"}
    cluster.kube.create(PODS, pod)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    counted = {"status": {"capacity": {"acme.example/widget": "2"}, "allocatable": {"acme.example/widget": "2"}}}

    def come() -> None:
        cluster.kube.merge(PODS, pod, ready, "status")
        cluster.kube.merge(NODES, node, counted, "status")

    work = after(api, 3, come)
    params = {"port": 9400, "ready_label": None, "tolerations": [], "expected_nodes": 1, **options}
    entries, _elapsed = _health_read.wait(_health_read.Reader(api, params), "none", LONG)
    work.join()
    assert entries[0]["verdict"] == "ok"
    well = cluster.run("device_plugin_health", **options)
    assert well["ansible_facts"]["accelerator_health"]["ok"]
    assert well["summary"].splitlines()[1].split() == ["worker-1", "2", "2", "2", "-", "ok"]
    two = cluster.run("device_plugin_health", wait=True, expected_nodes=2, timeout=SHORT, **options)
    assert "expected 2 healthy devices on each of 2 or more nodes with labels accelerator=present" in two["msg"]
    # Nobody listens behind the proxy: a plugin that does not answer is not well, whatever the node's numbers say.
    silent = cluster.run("device_plugin_health", probe="all", **options)
    assert silent["ansible_facts"]["accelerator_health"]["nodes"][0]["verdict"] == "plugin_failing"
