# SPDX-License-Identifier: Apache-2.0
"""Installs by OLM that are not finished, removals that are not, and what somebody else began."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from definitions import IMAGES, Obj, facts, widget

API = "kmm.sigs.x-k8s.io/v1beta1"
PACKAGE = "kernel-module-management"
CRD = "modules.kmm.sigs.x-k8s.io"
OURS = {"name": "kmm", "namespace": "there", "package": PACKAGE, "managed_by": names.PLAYBOOK}
THEIRS = {**OURS, "name": "theirs", "managed_by": None}
GROUP = {"name": PACKAGE, "namespace": "openshift-kmm", "targets": [], "managed_by": names.PLAYBOOK}
ALL = ["Namespace", "OperatorGroup", "Subscription", "ConfigMap"]


def kmm(api: str | None = None, phase: str | None = None, *definitions: str) -> Obj:
    return {"api": api, "phase": phase, "definitions": list(definitions)}


def cluster(seen: Obj, subscriptions: tuple[Obj, ...] = (), groups: tuple[Obj, ...] = (), **more: Any) -> Obj:
    olm = {"present": True, "subscriptions": list(subscriptions), "operator_groups": list(groups)}
    return facts(kmm=seen, olm=olm, **more)


CLUSTERS = {
    "nothing": (cluster(kmm()), ALL, []),
    "installed by us": (cluster(kmm(API, "Succeeded", CRD), (OURS,)), ALL, ALL),
    "installed by another": (cluster(kmm(API), (THEIRS,)), [], []),
    "installed without OLM": (cluster(kmm(API)), [], []),
    "another's group, without a Subscription": (cluster(kmm(), (), ({**GROUP, "managed_by": None},)), None, []),
    "our Subscription is gone": (cluster(kmm(API, None, CRD), (), (GROUP,)), ALL, ALL),
    "and its group": (cluster(kmm(API, None, CRD), namespaces={"openshift-kmm": names.PLAYBOOK}), ALL, ALL),
    "but its operator runs": (cluster(kmm(API, "Succeeded", CRD), (), (GROUP,)), [], ALL),
    "removed, and then installed without OLM": (cluster(kmm(API), (), (GROUP,)), [], ALL),
    "removed, and then installed by another": (cluster(kmm(API), (THEIRS,), (GROUP,)), [], []),
}


def kinds(stage: str, seen: Obj) -> list[str]:
    return [item["kind"] for item in _manifests.render(stage, widget(), seen, IMAGES)]


@pytest.mark.parametrize(("seen", "install", "installed"), CLUSTERS.values(), ids=CLUSTERS)
def test_what_is_written_and_what_is_taken_away(seen: Obj, install: list[str] | None, installed: list[str]) -> None:
    if install is not None:
        assert kinds("kmm_install", seen) == install
    assert kinds("kmm_installed", seen) == installed


def test_the_namespace_stays_for_another_operator_in_it() -> None:
    guest = {**THEIRS, "package": "another"}
    assert kinds("kmm_installed", cluster(kmm(API, "Succeeded"), (guest, OURS))) == ["Subscription", "ConfigMap"]


def test_an_accelerator_in_the_operators_namespace_is_no_install() -> None:
    seen = cluster(kmm(API, None), namespaces={"openshift-kmm": names.PLAYBOOK})
    assert _manifests.render("kmm_installed", widget(namespace="openshift-kmm"), seen, IMAGES) == []


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (cluster(kmm()), PACKAGE),
        (cluster(kmm(API, "Installing"), (OURS,)), "kmm"),
        (cluster(kmm(), (THEIRS,)), "theirs"),
        (cluster(kmm(), (THEIRS, OURS)), "kmm"),
        (cluster(kmm(API), (THEIRS,)), None),
        (cluster(kmm(API)), None),
    ],
    ids=["to be written", "ours", "another's, not done yet", "both", "another's, done", "none"],
)
def test_which_subscription_is_waited_for(seen: Obj, name: str | None) -> None:
    assert _manifests.awaited(widget(), seen, "kmm").get("name") == name


def test_nothing_is_waited_for_that_is_not_needed() -> None:
    labelled = widget(hardware={"pci": None, "node_label": {"a": "b"}})
    assert _manifests.awaited(widget(), cluster(kmm()), "nfd")["package"] == "nfd"
    assert _manifests.awaited(labelled, cluster(kmm()), "nfd") == {}


@pytest.mark.parametrize(
    ("package", "namespace", "label"),
    [
        ("nfd", "openshift-nfd", "operators.coreos.com/nfd.openshift-nfd"),
        (PACKAGE, "n" * 63, f"operators.coreos.com/{PACKAGE}.{'n' * 38}"),
        (PACKAGE, "n" * 37 + "-x", f"operators.coreos.com/{PACKAGE}.{'n' * 37}"),
    ],
    ids=["short", "cut", "cut, and not at a dash"],
)
def test_the_label_of_all_that_an_operator_consists_of(package: str, namespace: str, label: str) -> None:
    assert _manifests.component_label(package, namespace) == label


@pytest.mark.parametrize("going", ["widget", "openshift-kmm"])
def test_a_namespace_that_is_being_deleted_is_told_before_the_first_change(going: str) -> None:
    (text,) = _manifests.obstacles(widget(), cluster(kmm(), namespaces_going=[going, "other"]))
    assert text.startswith(f"namespace {going} is being deleted: expected it to be there or to be gone")
    assert "nothing was changed; next: wait until it is gone" in text
