# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from typing import Any

import pytest
from stand_ins.features import READ_NODE, WorkerConfig, holds, matches, own_labels, parse, rule_labels

NODE_SAYS = """6.1.0-9-amd64
==
0x010000 0x8086 0x7010 0x1af4 0x1100
0x00ff00 0x1234 0x11e8 0x1af4 0x1100
==
flags\t\t: fpu aes avx512f
==
virtio_net
ptemplate_char_dev
"""
FEATURES = parse(NODE_SAYS)


def expression(op: str, *value: str) -> dict[str, Any]:
    return {"op": op, "value": list(value)}


def term(feature: str, **expressions: Any) -> dict[str, Any]:
    return {"feature": feature, "matchExpressions": expressions}


EDU = term("pci.device", vendor=expression("In", "1234"), device=expression("In", "11e8"))
NO_DEVICE = term("pci.device", vendor=expression("In", "8086"), device=expression("In", "11e8"))
LOADED = term("kernel.loadedmodule", ptemplate_char_dev=expression("Exists"))
AVX = term("cpu.cpuid", AVX512F=expression("Exists"))
OLD = term("kernel.version", major=expression("Lt", "6"))


def test_a_node_that_says_something_else() -> None:
    with pytest.raises(ValueError, match=r"expected 4 parts.*seen 'sh: not found'"):
        parse("sh: not found")


@pytest.mark.parametrize(
    ("release", "label"), [("6.12.117+deb12-amd64", "6.12.117_deb12-amd64"), ("6.1.0-custom+", "6.1.0-custom")]
)
def test_a_release_that_no_label_may_hold(release: str, label: str) -> None:
    labels = own_labels(parse(NODE_SAYS.replace("6.1.0-9-amd64", release)), WorkerConfig(""))
    assert labels["feature.node.kubernetes.io/kernel-version.full"] == label


def test_this_machine_answers() -> None:
    """READ_NODE is plain shell: what it prints here can be read."""
    done = subprocess.run(["sh", "-c", READ_NODE], capture_output=True, text=True, check=True, timeout=300)
    assert parse(done.stdout)["attributes"]["kernel.version"]["elements"]["full"]


@pytest.mark.parametrize(
    ("op", "values", "seen", "expected"),
    [
        ("In", ["a", "b"], "b", True),
        ("In", ["a"], None, False),
        ("NotIn", ["a"], "b", True),
        ("NotIn", ["a"], None, False),
        ("InRegexp", ["^11e"], "11e8", True),
        ("InRegexp", ["^1e"], "11e8", False),
        ("Exists", [], "", True),
        ("Exists", [], None, False),
        ("DoesNotExist", [], None, True),
        ("DoesNotExist", [], "a", False),
        ("Gt", ["5"], "10", True),
        ("Gt", ["10"], "10", False),
        ("Lt", ["6"], "5", True),
        ("GtLt", ["4", "6"], "5", True),
        ("GtLt", ["4", "5"], "5", False),
        ("Gt", ["5"], "many", False),
        ("IsTrue", [], "true", True),
        ("IsTrue", [], "yes", False),
        ("IsFalse", [], "false", True),
    ],
)
def test_operators(op: str, values: list[str], seen: str | None, expected: bool) -> None:
    assert holds(expression(op, *values), seen) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"matchFeatures": [EDU]}, True),
        ({"matchFeatures": [EDU, LOADED, AVX]}, True),
        ({"matchFeatures": [EDU, OLD]}, False),
        ({"matchFeatures": [NO_DEVICE]}, False),  # vendor of one device, device of another
        ({"matchFeatures": [term("usb.device", vendor=expression("DoesNotExist"))]}, False),  # no such feature
        ({"matchFeatures": [{"feature": "cpu.cpuid", "matchName": expression("InRegexp", "^AVX")}]}, True),
        ({"matchFeatures": [{"feature": "cpu.cpuid", "matchName": expression("InRegexp", "^AMX")}]}, False),
        ({"matchAny": [{"matchFeatures": [OLD]}, {"matchFeatures": [EDU]}]}, True),
        ({"matchAny": [{"matchFeatures": [OLD]}]}, False),
        ({"matchFeatures": [OLD], "matchAny": [{"matchFeatures": [EDU]}]}, False),
    ],
)
def test_rules(rule: dict[str, Any], expected: bool) -> None:
    assert matches(rule, FEATURES) is expected


def test_labels_of_rules() -> None:
    labels = {"x.present": "true", "vendor.example/x": "1", "kmm.node.kubernetes.io/x": "1"}
    found = rule_labels([{"name": "x", "labels": labels, "matchFeatures": [EDU]}], FEATURES)
    assert found == {"feature.node.kubernetes.io/x.present": "true", "vendor.example/x": "1"}


@pytest.mark.parametrize(
    ("config", "pci"),
    [
        ("", set()),  # neither class is in NFD's default list
        ("sources: {pci: {deviceClassWhitelist: ['00']}}", {"00ff_1234"}),
        (
            "sources: {pci: {deviceClassWhitelist: ['00'], deviceLabelFields: [class, vendor, device]}}",
            {"00ff_1234_11e8"},
        ),
    ],
)
def test_labels_of_the_worker(config: str, pci: set[str]) -> None:
    labels = own_labels(FEATURES, WorkerConfig(config))
    prefix = "feature.node.kubernetes.io/"
    assert {n for n in labels if "/pci-" in n} == {f"{prefix}pci-{name}.present" for name in pci}
    assert labels[f"{prefix}kernel-version.full"] == "6.1.0-9-amd64"
    assert {n for n in labels if "/cpu-" in n} == {f"{prefix}cpu-cpuid.AESNI", f"{prefix}cpu-cpuid.AVX512F"}


@pytest.mark.parametrize(("interval", "seconds"), [("60s", 60), ("1m30s", 90), ("0s", 0)])
def test_interval(interval: str, seconds: float) -> None:
    assert WorkerConfig("").interval == 60
    assert WorkerConfig(f"core: {{sleepInterval: {interval}}}").interval == seconds
