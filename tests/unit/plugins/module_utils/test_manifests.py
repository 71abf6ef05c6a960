# SPDX-License-Identifier: Apache-2.0
"""What the manifests say, where it follows from more than one value. That the API accepts them: tests/api."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from definitions import IMAGES, Obj, example, facts, kinds, node, of, render, widget

LABEL = "feature.node.kubernetes.io/widget.present"
WORKLOADS = ("device_plugin", "consumer", "operator")
CONSUMER = {"consumer": {"command": ["run"]}, "images": {"consumer": "registry.example/c:1"}}


def everything(definition: Obj, **seen: Any) -> list[Obj]:
    return [item for stage in _manifests.STAGES for item in render(stage, definition, **seen)]


def pod_specs(definition: Obj, **seen: Any) -> list[Obj]:
    found = [item for stage in WORKLOADS for item in render(stage, definition, **seen)]
    return [item["spec"]["template"]["spec"] for item in found if item["kind"] in ("DaemonSet", "Deployment")]


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected one of namespace, driver_build, nfd_install, .*, seen nonsense"):
        render("nonsense", widget())


@pytest.mark.parametrize("platform", ["kubernetes", "openshift"])
def test_no_object_stands_twice_and_none_is_unlabelled(platform: str) -> None:
    objects = everything(example(), platform=platform, nodes=[])
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert len(keys) == len(set(keys)) > 15
    assert [item for item in objects if "app.kubernetes.io/managed-by" not in item["metadata"]["labels"]] == []


def test_what_belongs_to_all_accelerators_is_the_same_for_each() -> None:
    """Else two definitions would undo each other's."""
    shared = {"OperatorGroup", "Subscription", "NodeFeatureDiscovery"}
    stages = ("nfd_install", "nfd", "kmm_install")
    first, second = (
        [item for stage in stages for item in render(stage, definition) if item["kind"] in shared]
        for definition in (example(), widget())
    )
    assert first == second
    assert len(first) == 5


# Namespaces


ENFORCE = "pod-security.kubernetes.io/enforce"
BEFORE = "ecosystem-edge.github.io/labels-before"


@pytest.mark.parametrize(
    ("known", "ours"),
    [({}, True), ({"widget": "accelerator-playbook"}, True), ({"widget": None}, False), ({"widget": "argo"}, False)],
)
def test_a_namespace_that_was_there_is_not_claimed(known: Obj, ours: bool) -> None:
    (namespace,) = render("namespace", widget(), namespaces=known)
    labels = namespace["metadata"]["labels"]
    assert ("app.kubernetes.io/managed-by" in labels) is ours
    assert ours or list(labels) == [ENFORCE], "what we need there, and no more"
    assert labels[ENFORCE] == "privileged"
    assert ("annotations" in namespace["metadata"]) is not ours


@pytest.mark.parametrize(
    ("labels", "annotations", "before"),
    [
        ({}, {}, "{}"),
        ({ENFORCE: "privileged", "team": "a"}, {}, "{}"),
        ({ENFORCE: "baseline"}, {}, f'{{"{ENFORCE}": "baseline"}}'),
        ({ENFORCE: "privileged"}, {BEFORE: f'{{"{ENFORCE}": "baseline"}}'}, f'{{"{ENFORCE}": "baseline"}}'),
    ],
    ids=["no label", "as we need it", "another value", "second run"],
)
def test_what_a_namespace_had_before_is_remembered(labels: Obj, annotations: Obj, before: str) -> None:
    seen = {"namespaces": {"widget": None}, "namespace": {"labels": labels, "annotations": annotations}}
    (namespace,) = render("namespace", widget(), **seen)
    assert namespace["metadata"]["annotations"] == {BEFORE: before}
    after = facts(namespace={"labels": {ENFORCE: "privileged"}, "annotations": {BEFORE: before}})
    (released,) = _manifests.released(widget(), after)
    assert released["metadata"]["labels"] == ({ENFORCE: "baseline"} if "baseline" in before else {})
    assert "annotations" not in released["metadata"]


def test_nothing_is_released_twice() -> None:
    assert _manifests.released(widget(), facts(namespace={"labels": {ENFORCE: "baseline"}, "annotations": {}})) == []
    assert _manifests.released(widget(), facts(namespace=None)) == []


def test_accelerators_that_share_our_namespace_do_not_rename_it_in_turns() -> None:
    first, second = (widget(namespace="npus"), widget(name="other", namespace="npus"))
    (made,) = render("namespace", first)
    seen = {"labels": made["metadata"]["labels"], "annotations": {}}
    assert render("namespace", second, namespaces={"npus": "accelerator-playbook"}, namespace=seen) == [made]


# Installing


OURS = {"name": "bought", "namespace": "there", "package": "nfd", "managed_by": "accelerator-playbook"}


@pytest.mark.parametrize(
    ("over", "seen", "installed"),
    [
        ({}, {}, True),
        ({"nfd": {"install": False}}, {}, False),
        ({}, {"nfd": {"api": "nfd.openshift.io/v1", "instances": [], "namespace": None}}, False),
        ({}, {"olm": {"subscriptions": [{**OURS, "managed_by": None}]}}, False),
        ({}, {"olm": {"subscriptions": [OURS]}}, True),
        ({"hardware": {"pci": None, "node_label": {"mine": "yes"}}}, {}, False),
    ],
)
def test_nfd_is_installed_only_where_nobody_else_did(over: Obj, seen: Obj, installed: bool) -> None:
    assert bool(render("nfd_install", widget(**over), **seen)) is installed


def test_a_second_accelerator_adds_its_record_to_the_first_ones_install() -> None:
    seen = {"nfd": {"api": "nfd.openshift.io/v1", "instances": [], "namespace": "there"}}
    objects = render("nfd_install", widget(), **seen, olm={"subscriptions": [OURS]})
    assert of(objects, "Subscription")["metadata"]["name"] == "bought"
    record = of(objects, "ConfigMap")
    assert (record["metadata"]["namespace"], record["metadata"]["name"]) == ("there", "accelerator-user-widget")


@pytest.mark.parametrize(
    ("platform", "source"),
    [("kubernetes", ("operatorhubio-catalog", "olm")), ("openshift", ("redhat-operators", "openshift-marketplace"))],
)
def test_operators_come_from_the_platforms_catalog(platform: str, source: tuple[str, str]) -> None:
    for stage, package in (("nfd_install", "nfd"), ("kmm_install", "kernel-module-management")):
        spec = of(render(stage, widget(), platform=platform), "Subscription")["spec"]
        assert (spec["name"], spec["source"], spec["sourceNamespace"]) == (package, *source)


def test_kmm_watches_all_namespaces_and_nfd_its_own() -> None:
    assert of(render("kmm_install", widget()), "OperatorGroup")["spec"] == {}
    assert of(render("nfd_install", widget()), "OperatorGroup")["spec"] == {"targetNamespaces": ["openshift-nfd"]}


# NFD


@pytest.mark.parametrize(
    ("hardware", "match"),
    [
        ({"pci": {"class": "0b40"}}, {"feature": "pci.device", "matchExpressions": {
            "vendor": {"op": "In", "value": ["1234"]}, "device": {"op": "In", "value": ["11e8"]},
            "class": {"op": "In", "value": ["0b40"]}}}),
        ({"pci": None, "loaded_module": "snd-hda"}, {"feature": "kernel.loadedmodule", "matchExpressions": {
            "snd_hda": {"op": "Exists"}}}),
        ({"pci": None, "cpu_feature": "AVX2"}, {"feature": "cpu.cpuid", "matchExpressions": {
            "AVX2": {"op": "Exists"}}}),
    ],
)  # fmt: skip
def test_the_rule_matches_the_hardware(hardware: Obj, match: Obj) -> None:
    (rule,) = of(render("nfd", widget(hardware=hardware)), "NodeFeatureRule")["spec"]["rules"]
    assert rule["matchFeatures"] == [match]
    assert rule["labels"] == {LABEL: "true"}


@pytest.mark.parametrize(
    ("api", "instances", "found"),
    [
        ("nfd.openshift.io/v1", [], ["ConfigMap", "NodeFeatureDiscovery", "NodeFeatureRule"]),
        (None, [], ["NodeFeatureDiscovery", "NodeFeatureRule"]),
        ("nfd.openshift.io/v1", ["there/accelerator"], ["ConfigMap", "NodeFeatureDiscovery", "NodeFeatureRule"]),
        ("nfd.openshift.io/v1", ["there/nfd-instance"], ["NodeFeatureRule"]),
        ("nfd.k8s-sigs.io/v1alpha1", [], ["NodeFeatureRule"]),
    ],
)
def test_there_is_one_discovery_a_cluster_and_a_rule_in_its_api(
    api: str, instances: list[str], found: list[str]
) -> None:
    namespace = "there" if instances else None
    objects = render("nfd", widget(), nfd={"api": api, "instances": instances, "namespace": namespace})
    assert kinds(objects) == found
    rule = objects[-1]
    upstream = api == "nfd.k8s-sigs.io/v1alpha1"
    assert rule["apiVersion"] == ("nfd.k8s-sigs.io/v1alpha1" if upstream else "nfd.openshift.io/v1alpha1")
    assert rule["metadata"].get("namespace") == (None if upstream else namespace or "openshift-nfd")


def test_nodes_that_the_user_labels_need_no_rule() -> None:
    definition = widget(hardware={"pci": None, "node_label": {"mine": "yes"}}, nodes={"pool": "x"})
    assert render("nfd", definition) == []
    assert of(render("kmm", definition), "Module")["spec"]["selector"] == {"mine": "yes", "pool": "x"}


# KMM


def test_the_module_says_what_the_definition_says() -> None:
    over: Obj = {
        "driver": {
            "parameters": {"text": "a b", "number": 3, "yes": True, "no": False, "half": 0.5},
            "firmware": ["w.bin"],
            "replaces": ["old"],
            "version": "2",
        },
        "images": {"tls_verify": False, "pull_secret": "pull"},
    }
    spec = of(render("kmm", widget(**over)), "Module")["spec"]
    assert spec == {
        "selector": {LABEL: "true"},
        "imageRepoSecret": {"name": "pull"},
        "moduleLoader": {
            "serviceAccountName": "widget-driver",
            "container": {
                "version": "2",
                "kernelMappings": [{"regexp": "^.+$", "containerImage": IMAGES["driver"]}],
                "inTreeModulesToRemove": ["old"],
                "registryTLS": {"insecure": True, "insecureSkipTLSVerify": True},
                "modprobe": {
                    "moduleName": "widget",
                    "parameters": ["half=0.5", "no=0", "number=3", "text=a b", "yes=1"],
                    "firmwarePath": "/firmware",
                },
            },
        },
    }


def test_what_the_definition_tolerates_driver_and_pods_tolerate() -> None:
    """The driver may also stay through a cordon; new pods go to no node that is cordoned."""
    ours = {"key": "acme.example/widget", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}
    cordon = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    definition = widget(tolerations=[ours, cordon], **CONSUMER)
    assert of(render("kmm", definition), "Module")["spec"]["tolerations"] == [ours, cordon]
    assert [spec.get("tolerations") for spec in pod_specs(definition)] == [[{"operator": "Exists"}], [ours], [ours]]
    assert [spec.get("tolerations") for spec in pod_specs(widget(**CONSUMER))] == [[{"operator": "Exists"}], None, None]


def test_the_version_label_goes_to_the_nodes_of_the_selector_only() -> None:
    objects = render("kmm", widget(), nodes=[node("a", **{LABEL: "true"}), node("b")])
    assert of(objects, "Node")["metadata"] == {
        "name": "a",
        "labels": {"kmm.node.kubernetes.io/version-module.widget.widget": "0.1.0"},
    }


@pytest.mark.parametrize(("platform", "bound"), [("kubernetes", []), ("openshift", ["widget-driver"])])
def test_openshift_lets_workers_be_privileged_by_a_role_binding(platform: str, bound: list[str]) -> None:
    found = [item for item in render("kmm", widget(), platform=platform) if item["kind"] == "RoleBinding"]
    assert [subject["name"] for item in found for subject in item["subjects"]] == bound


# Pods


@pytest.mark.parametrize("platform", ["kubernetes", "openshift"])
def test_no_container_has_a_privilege(platform: str) -> None:
    specs = pod_specs(widget(**CONSUMER), platform=platform)
    assert len(specs) == 3
    for spec in specs:
        (container,) = spec["containers"]
        security = container["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        }
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"memory", "cpu"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_only_the_operator_gets_a_token() -> None:
    tokens = {
        spec["containers"][0]["name"]: spec["automountServiceAccountToken"] for spec in pod_specs(widget(**CONSUMER))
    }
    assert tokens == {"device-plugin": False, "consumer": False, "operator": True}


def test_the_pull_secret_reaches_every_pod() -> None:
    specs = pod_specs(example(images={"pull_secret": "pull"}))
    assert [spec["imagePullSecrets"] for spec in specs] == [[{"name": "pull"}]] * 3


def test_the_consumer_asks_for_devices_and_runs_its_command() -> None:
    spec = of(render("consumer", widget(**CONSUMER)), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == ["run"]
    assert container["resources"]["limits"]["acme.example/widget"] == "1"
    assert render("consumer", widget()) == []


def test_who_manages_does_not_restart_pods() -> None:
    by_playbook, by_operator = (
        _manifests.render(stage, example(), facts(), IMAGES, manager)[-1]["spec"]
        for stage in ("consumer",)
        for manager in (names.PLAYBOOK, names.OPERATOR)
    )
    assert by_playbook == by_operator


# Operator


def test_the_operators_rights_have_no_wildcard_and_are_what_its_readme_says() -> None:
    objects = render("operator", widget(), platform="openshift")
    rules = [rule for kind in ("Role", "ClusterRole") for rule in of(objects, kind)["rules"]]
    assert not [rule for rule in rules if "*" in json.dumps(rule)]
    assert of(objects, "ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "verbs": ["bind"],
            "resourceNames": ["system:openshift:scc:privileged"],
        },
    ]


def test_the_operator_restarts_when_the_definition_changes_and_else_not() -> None:
    def annotation(definition: Obj) -> str:
        template = of(render("operator", definition), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"])

    elsewhere = widget()
    elsewhere["driver"]["source"] = "/another/checkout"
    assert annotation(widget()) == annotation(elsewhere)
    assert annotation(widget()) != annotation(widget(health={"interval": 7}))


def test_nothing_of_the_build_host_goes_to_the_cluster(tmp_path: Path) -> None:
    file = tmp_path / "file-of-the-host"
    file.touch()
    over: Obj = {"images": {"push_auth_file": str(file), "ca_bundle": str(file)}}
    definition = widget(**over)
    definition["driver"]["signing"] = {"key": str(file), "certificate": str(file)}
    assert file.name not in of(render("operator", definition), "ConfigMap")["data"]["definition.json"]
    assert "ptemplate/files" not in json.dumps(everything(example()))
