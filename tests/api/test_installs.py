# SPDX-License-Identifier: Apache-2.0
"""Installs by OLM that do not go by themselves, and removals that ended half-way, on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plays import Roles
from scene import PLAYBOOK, Scene, definition
from stand_ins.kube import CRDS, Kube, Object
from stand_ins.olm import CSVS, PLANS, SUBSCRIPTIONS

pytestmark = pytest.mark.slow  # whole roles are played

PACKAGE, PLACE = "kernel-module-management", "openshift-kmm"
NOTHING = {"olm": {"subscriptions": []}, "kmm": {"api": None}, "nfd": {"api": None, "instances": [], "namespace": None}}
LABEL = f"operators.coreos.com/{PACKAGE}.{PLACE}"
OURS = ["modules.kmm.sigs.x-k8s.io", "nodemodulesconfigs.kmm.sigs.x-k8s.io"]
OPERATOR = {"common_operator": "kmm"}


@pytest.fixture
def kube(operators: tuple[Kube, Path]) -> Kube:
    return operators[0]


@pytest.fixture
def subscribed(scene: Scene) -> Object:
    """What a first run writes."""
    ours = definition("first")
    scene.render(ours, "kmm_install", **NOTHING)
    return ours


@pytest.fixture
def labelled(kube: Kube) -> Iterator[list[str]]:
    """The definitions with the label that OLM puts on what it installs."""

    def label(value: str | None) -> None:
        for name in OURS:
            kube.merge(CRDS, CRDS.new(name), {"metadata": {"labels": {LABEL: value}}})

    label("")
    yield OURS
    label(None)


def resolved(kube: Kube) -> None:
    reference = {"apiVersion": PLANS.api, "kind": PLANS.kind, "name": "install-abcde", "namespace": PLACE}
    status = {"currentCSV": f"{PACKAGE}.v1", "installPlanRef": reference}
    kube.apply(SUBSCRIPTIONS, SUBSCRIPTIONS.new(PACKAGE, PLACE, status=status), "olm", "status")


def plan(kube: Kube, scene: Scene, **status: Any) -> None:
    spec = {"approval": "Manual", "approved": False, "clusterServiceVersionNames": [f"{PACKAGE}.v1"]}
    scene.add(PLANS, "install-abcde", PLACE, spec=spec)
    kube.apply(PLANS, PLANS.new("install-abcde", PLACE, status={"catalogSources": [], **status}), "olm", "status")


def csv(kube: Kube, scene: Scene, phase: str, message: str) -> None:
    spec = {"displayName": "KMM", "install": {"strategy": "deployment"}}
    scene.add(CSVS, f"{PACKAGE}.v1", PLACE, {LABEL: ""}, spec=spec)
    status = {"phase": phase, "reason": f"Install{phase}", "message": message}
    kube.apply(CSVS, CSVS.new(f"{PACKAGE}.v1", PLACE, status=status), "olm", "status")


def test_a_plan_that_waits_for_approval_is_told_at_once(
    roles: Roles, kube: Kube, scene: Scene, subscribed: Object
) -> None:
    """As where another Subscription of the namespace is Manual, though ours is not."""
    resolved(kube)
    plan(kube, scene, phase="RequiresApproval")
    said = roles.complaint(subscribed, "common/install", **OPERATOR)
    assert said.startswith("install plan of KMM: waiting is in vain; InstallPlan openshift-kmm/install-abcde: Requires")
    assert "get installplan install-abcde -o yaml" in said
    assert "set its spec.approved to true; then run the play again" in said


def test_an_install_that_an_earlier_run_gave_up_is_waited_for(
    roles: Roles, kube: Kube, scene: Scene, subscribed: Object
) -> None:
    """Its API is served long before the operator runs."""
    csv(kube, scene, "Failed", "install timeout")
    said = roles.complaint(subscribed, "common/install", **OPERATOR)
    assert "operator of KMM: waiting is in vain" in said
    assert "InstallFailed: install timeout" in said
    csv_of = CSVS.new(f"{PACKAGE}.v1", PLACE, status={"phase": "Succeeded", "reason": "InstallSucceeded"})
    kube.apply(CSVS, csv_of, "olm", "status")
    again = roles.play(subscribed, "common/install", **OPERATOR)
    assert again.changed == 0
    assert not again.of("Wait until the operator is installed"), "what has succeeded costs nothing"


def test_a_removal_that_ended_half_way_is_resumed(
    roles: Roles, kube: Kube, subscribed: Object, labelled: list[str]
) -> None:
    """Subscription and operator are gone, the definitions are left: a teardown removes them, a site installs anew."""
    kube.delete(SUBSCRIPTIONS, PACKAGE, PLACE)
    torn = roles.play(subscribed, "kmm/teardown", check=True)
    gone = ["CustomResourceDefinition"] * len(labelled)
    assert torn.deleted() == [*gone, "ConfigMap", "OperatorGroup", "Namespace"]
    anew = roles.play(subscribed, "common/install", check=True, **OPERATOR)
    listed = anew.of("List what would be created")["msg"]
    assert "would be created: Subscription openshift-kmm/kernel-module-management" in listed


def test_an_operator_that_lost_its_subscription_and_runs_is_left_alone(
    roles: Roles, kube: Kube, scene: Scene, subscribed: Object, labelled: list[str]
) -> None:
    kube.delete(SUBSCRIPTIONS, PACKAGE, PLACE)
    csv(kube, scene, "Succeeded", "")
    assert roles.play(subscribed, "common/install", check=True, **OPERATOR).of("Apply the objects") == {}
    assert "ClusterServiceVersion" in roles.play(subscribed, "kmm/teardown", check=True).deleted()


def test_what_is_not_ours_is_not_touched(roles: Roles, kube: Kube, scene: Scene, labelled: list[str]) -> None:
    """Somebody else's Subscription, though the namespace is of an earlier install of ours."""
    ours = definition("first")
    scene.render(ours, "kmm_install", **NOTHING)
    kube.merge(SUBSCRIPTIONS, SUBSCRIPTIONS.new(PACKAGE, PLACE), {"metadata": {"labels": None}})
    assert PLAYBOOK not in str((kube.get(SUBSCRIPTIONS, PACKAGE, PLACE) or {})["metadata"].get("labels"))
    assert roles.play(ours, "kmm/teardown", check=True).deleted() == []
