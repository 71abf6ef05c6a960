# SPDX-License-Identifier: Apache-2.0
"""NFD's stand-in on a real API server: labels come from what the node says, and go with the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cluster import eventually, report
from stand_ins.controller import install_definitions, set_fault
from stand_ins.kube import NODES, Kube, Object
from stand_ins.nfd import DISCOVERIES, FEATURES, RULES, Nfd

NODE_SAYS = """6.1.0-9-amd64
==
0x010000 0x8086 0x7010 0x1af4 0x1100
0x00ff00 0x1234 0x11e8 0x1af4 0x1100
==
flags\t\t: fpu aes avx512f
==
virtio_net
"""
CONFIG = "sources: {pci: {deviceClassWhitelist: ['00'], deviceLabelFields: [class, vendor, device]}}"
PCI = "feature.node.kubernetes.io/pci-00ff_1234_11e8.present"
OURS = "feature.node.kubernetes.io/example.present"


@pytest.fixture
def reads(kube: Kube, play: Callable[..., None]) -> Iterator[list[str]]:
    """The nodes that were read, in order."""
    read: list[str] = []

    def run(name: str, shell: str) -> str:
        read.append(name)
        return NODE_SAYS

    install_definitions(kube, "nfd", "test")
    play(Nfd(kube, run))
    yield read
    set_fault(kube, "nfd-silent", False)


def discovery(namespace: str, **spec: object) -> Object:
    return DISCOVERIES.new("nfd-instance", namespace, spec={"workerConfig": {"configData": CONFIG}, **spec})


def rule(namespace: str) -> Object:
    match = {"vendor": {"op": "In", "value": ["1234"]}, "device": {"op": "In", "value": ["11e8"]}}
    features = [{"feature": "pci.device", "matchExpressions": match}]
    rules = [{"name": "example", "labels": {"example.present": "true"}, "matchFeatures": features}]
    return RULES.new("example", namespace, spec={"rules": rules})


def labels(kube: Kube) -> dict[str, str]:
    node = kube.get(NODES, "worker-1") or {}
    return {n: v for n, v in node["metadata"].get("labels", {}).items() if n.startswith("feature.")}


def test_labels_come_and_go(kube: Kube, namespace: str, node: Object, reads: list[str]) -> None:
    kube.create(DISCOVERIES, discovery(namespace, prunerOnDelete=True))
    eventually(lambda: labels(kube).get(PCI), "true")
    assert OURS not in labels(kube)
    assert (kube.get(FEATURES, "worker-1", namespace) or {})["spec"]["labels"][PCI] == "true"

    kube.create(RULES, rule(namespace))
    eventually(lambda: labels(kube).get(OURS), "true")
    annotations = (kube.get(NODES, "worker-1") or {})["metadata"]["annotations"]
    assert "example.present" in annotations["nfd.node.kubernetes.io/feature-labels"].split(",")

    kube.delete(RULES, "example", namespace)
    eventually(lambda: labels(kube).get(OURS), None)
    assert labels(kube)[PCI] == "true"
    assert reads == ["worker-1"], "a rule is no reason to read the node again"

    kube.delete(DISCOVERIES, "nfd-instance", namespace)
    eventually(lambda: kube.get(DISCOVERIES, "nfd-instance", namespace), None)
    assert labels(kube) == {}
    assert (kube.get(NODES, "worker-1") or {})["metadata"]["labels"] == {"accelerator": "present"}


def test_without_pruner_the_labels_stay(kube: Kube, namespace: str, node: Object, reads: list[str]) -> None:
    kube.create(DISCOVERIES, discovery(namespace))
    eventually(lambda: labels(kube).get(PCI), "true")
    kube.delete(DISCOVERIES, "nfd-instance", namespace)
    eventually(lambda: kube.get(DISCOVERIES, "nfd-instance", namespace), None)
    assert labels(kube)[PCI] == "true"


def test_a_boot_is_a_reason_to_read_again(kube: Kube, namespace: str, node: Object, reads: list[str]) -> None:
    kube.create(DISCOVERIES, discovery(namespace, prunerOnDelete=True))
    eventually(lambda: reads, ["worker-1"])
    report(kube, "boot-2")
    eventually(lambda: reads, ["worker-1", "worker-1"])
    kube.delete(DISCOVERIES, "nfd-instance", namespace)
    eventually(lambda: kube.get(DISCOVERIES, "nfd-instance", namespace), None)


def test_silent_until_mended(kube: Kube, namespace: str, node: Object, reads: list[str]) -> None:
    set_fault(kube, "nfd-silent", True)
    kube.create(DISCOVERIES, discovery(namespace, prunerOnDelete=True))
    report(kube, "boot-3")
    assert reads == []
    assert labels(kube) == {}
    set_fault(kube, "nfd-silent", False)
    eventually(lambda: labels(kube).get(PCI), "true")
    kube.delete(DISCOVERIES, "nfd-instance", namespace)
    eventually(lambda: kube.get(DISCOVERIES, "nfd-instance", namespace), None)
