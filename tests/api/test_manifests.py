# SPDX-License-Identifier: Apache-2.0
"""Every manifest of the shipped example, and of a second definition, is accepted field by field by a real API server:
with the genuine definitions (skipped, visibly, where they are not), and with the lab's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition, _manifests
from cluster import ROOT, api_server
from stand_ins.controller import install_definitions, served
from stand_ins.kube import CRDS, NAMESPACES, ApiError, Kube, Object, Resource

CONTAINER = ROOT / "files" / "driver_container"
EXAMPLE = ROOT / "playbooks" / "vars" / "ptemplate.yml"
SECOND = {
    "name": "npu",
    "resource": "vendor.example/npu",
    "hardware": {"cpu_feature": "AVX512F"},
    "driver": {"module": "npu", "firmware": ["npu.bin"], "replaces": ["oldnpu"]},
    "images": {"registry": "registry.example.com/npu", "driver": "registry.example.com/npu:1", "pull_secret": "pull"},
    "device_plugin": {"deploy": "kmm"},
}
BUILT = {  # by KMM, in the cluster, and signed there
    "name": "fpga",
    "resource": "vendor.example/fpga",
    "hardware": {"pci": {"vendor": "1234", "device": "11e8"}},
    "driver": {
        "module": "fpga",
        "git": {"url": "https://git.example.com/fpga.git", "ref": "v1", "subdir": "driver"},
        "build": {"strategy": "kmm"},
        "signing": {"secret": "signing-keys"},
    },
    "images": {
        "registry": "registry.example.com/fpga",
        "builder": "registry.example.com/dtk:${KERNEL_FULL_VERSION}",
        "tls_verify": False,
        "proxy": {"https": "http://proxy.example.com:3128", "no_proxy": ".svc"},
    },
}
DEFINITIONS = {"second": SECOND, "built": BUILT}
VARIANTS = {
    "built by KMM": ("built", "playbook", "nfd.openshift.io/v1", "openshift"),
    "example, operator": ("example", "operator", "nfd.openshift.io/v1", "kubernetes"),
    "example, playbook": ("example", "playbook", "nfd.openshift.io/v1", "openshift"),
    "second, operator": ("second", "operator", "nfd.openshift.io/v1", "openshift"),
    "second, playbook": ("second", "playbook", "nfd.k8s-sigs.io/v1alpha1", "kubernetes"),
}
NOT_ON_THE_LAB = {
    "second, playbook",  # it has no NodeFeatureRule of NFD without its operator
    "built by KMM",  # its KMM cannot build
}
DASHBOARDS = "openshift-config-managed"  # OpenShift has it
MONITORING = {"monitoring.coreos.com/v1": ["ServiceMonitor", "PrometheusRule"]}


def definition(name: str, managed_by: str) -> Object:
    if name in DEFINITIONS:
        return _definition.load(DEFINITIONS[name], {"managed_by": managed_by}, str(ROOT))
    shipped = yaml.safe_load(EXAMPLE.read_text())["accelerator"]
    site = {"managed_by": managed_by, "images": {"registry": "registry.example.com/ptemplate", "tls_verify": False}}
    return _definition.load(shipped, site, str(EXAMPLE.parent))


def facts(nfd: str | None, platform: str, labels: Object) -> Object:
    node = {"name": "worker-1", "labels": labels, "kernel": "6.1.0-9-amd64", "arch": "amd64", "schedulable": True}
    return {
        "platform": platform,
        "apis": MONITORING,
        "nodes": [node],
        "nfd": {"api": nfd, "instances": [], "namespace": None},
        "kmm": {"api": None},
        "olm": {"present": True, "subscriptions": []},
    }


def rendered(variant: str) -> list[Object]:
    name, managed_by, nfd, platform = VARIANTS[variant]
    filled = definition(name, managed_by)
    manager = f"accelerator-{managed_by}"
    registry = filled["images"]["registry"]
    images: Any = {"driver": f"{registry}/driver:1-${{KERNEL_FULL_VERSION}}"}
    images |= {part: f"{registry}/{part}:1" for part in ("device_plugin", "operator", "consumer")}
    images["driver_files"] = {path.name: path.read_text() for path in CONTAINER.glob("*.sh")}
    labels = filled["hardware"].get("node_label") or {f"feature.node.kubernetes.io/{filled['name']}.present": "true"}
    objects: list[Object] = []
    for stage in _manifests.STAGES:
        # Installing is what is done where nothing is there yet.
        seen = facts(None if stage.endswith("_install") else nfd, platform, labels)
        objects += _manifests.render(stage, filled, seen, images, manager)
    if managed_by == "operator":
        objects += [_manifests.crd(filled), _manifests.custom_resource(filled, images)]
    return objects


def resource_of(kube: Kube, obj: Object) -> Resource:
    api = obj["apiVersion"]
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    resources = kube.request("GET", root)["resources"]
    found = [r["name"] for r in resources if r["kind"] == obj["kind"] and "/" not in r["name"]]
    assert found, f"{api} {obj['kind']}: not served"
    return Resource(api, found[0], obj["kind"])


def refusals(kube: Kube, objects: list[Object]) -> list[str]:
    """What the API server says to each; namespaces and definitions are made, since the others live in them."""
    found: list[str] = []
    kube.apply(NAMESPACES, NAMESPACES.new(DASHBOARDS), "test")
    for obj in sorted(objects, key=lambda o: o["kind"] not in ("Namespace", "CustomResourceDefinition")):
        where = f"{obj['kind']} {obj['metadata']['name']}"
        try:
            resource = resource_of(kube, obj)
            if resource in (NAMESPACES, CRDS):
                kube.apply(resource, obj, "test", query="&fieldValidation=Strict")
                served(kube, [obj] if resource == CRDS else [])
            else:
                kube.apply(resource, obj, "test", query="&fieldValidation=Strict&dryRun=All")
        except ApiError as error:
            found.append(f"{where}: {error}")
    return found


@pytest.fixture(scope="module")
def genuine_kube(genuine: dict[str, Object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """A second, empty API server with the genuine definitions and nothing of the lab's."""
    with api_server(tmp_path_factory.mktemp("genuine")) as kube:
        for obj in genuine.values():
            kube.apply(CRDS, obj, "test")  # server-side: KMM's is too big for the annotation of the other way
        served(kube, list(genuine.values()))
        yield kube


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_genuine_definitions_accept(variant: str, genuine_kube: Kube) -> None:
    assert refusals(genuine_kube, rendered(variant)) == []


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in NOT_ON_THE_LAB])
def test_the_labs_definitions_accept(variant: str, kube: Kube) -> None:
    for name in ("olm", "nfd", "kmm", "monitoring"):
        install_definitions(kube, name, "test")
    assert refusals(kube, rendered(variant)) == []


def test_every_kind_is_among_them() -> None:
    """A stage that renders nothing would pass the tests above."""
    kinds = {(v, o["kind"]) for v in VARIANTS for o in rendered(v)}
    everywhere = {"Namespace", "OperatorGroup", "Subscription", "NodeFeatureRule", "Module"}
    everywhere |= {"PrometheusRule"}
    operator = {"CustomResourceDefinition", "Ptemplate", "DaemonSet", "Deployment", "ServiceMonitor"}
    assert {(v, k) for v in VARIANTS for k in everywhere} - kinds == set()
    assert {("example, operator", k) for k in operator} - kinds == set()
    [module] = [o for o in rendered("built by KMM") if o["kind"] == "Module"]
    mapping = module["spec"]["moduleLoader"]["container"]["kernelMappings"][0]
    assert set(mapping) == {"regexp", "containerImage", "build", "sign"}
    assert ("built by KMM", "ConfigMap") in kinds


def test_a_wrong_field_is_refused(genuine_kube: Kube) -> None:
    objects = rendered("example, playbook")
    module: Any = next(obj for obj in objects if obj["kind"] == "Module")
    module["spec"]["moduleLoader"]["container"]["invented"] = True
    [refusal] = refusals(genuine_kube, objects)
    assert "invented: field not declared in schema" in refusal
