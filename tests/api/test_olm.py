# SPDX-License-Identifier: Apache-2.0
"""OLM's stand-in on a real API server: a Subscription brings definitions and a running operator, or says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from cluster import eventually
from stand_ins.catalog import PACKAGES
from stand_ins.controller import Controller, set_fault
from stand_ins.kube import CRDS, Kube, Object
from stand_ins.olm import CSVS, GROUPS, PLANS, SUBSCRIPTIONS, Olm


class Operator(Controller):
    """Notes that it runs."""

    name = "noted"

    def __init__(self, kube: Kube, running: set[str], package: str) -> None:
        super().__init__(kube)
        self._running, self._package = running, package

    def start(self) -> None:
        self._running.add(self._package)

    def stop(self) -> None:
        self._running.discard(self._package)


@pytest.fixture
def running(kube: Kube, play: Callable[..., None]) -> Iterator[set[str]]:
    """The packages whose operators run."""
    names: set[str] = set()
    play(Olm(kube, {package: partial(Operator, kube, names, package) for package in PACKAGES}))
    yield names
    set_fault(kube, "csv-fails", False)
    for resource in (SUBSCRIPTIONS, PLANS, CSVS):
        for obj in kube.list(resource):
            kube.delete(resource, obj["metadata"]["name"], obj["metadata"]["namespace"])
    eventually(lambda: names, set())


def subscribe(kube: Kube, namespace: str, package: str = "kernel-module-management", **changes: Any) -> Object:
    spec = {"name": package, "channel": "stable", "source": "operatorhubio-catalog", "sourceNamespace": "olm"}
    return kube.create(SUBSCRIPTIONS, SUBSCRIPTIONS.new("s", namespace, spec=spec | changes))


def group(kube: Kube, namespace: str, *targets: str) -> None:
    spec = {"targetNamespaces": list(targets)} if targets else {}
    kube.create(GROUPS, GROUPS.new("g", namespace, spec=spec))


def subscription(kube: Kube, namespace: str) -> Object:
    return (kube.get(SUBSCRIPTIONS, "s", namespace) or {}).get("status", {})


def csv(kube: Kube, namespace: str) -> Object:
    found = [c for c in kube.list(CSVS) if c["metadata"]["namespace"] == namespace]
    return found[0].get("status", {}) if found else {}


def test_a_subscription_becomes_a_running_operator(kube: Kube, namespace: str, running: set[str]) -> None:
    group(kube, namespace)
    subscribe(kube, namespace)
    eventually(lambda: csv(kube, namespace).get("phase"), "Succeeded")
    eventually(lambda: subscription(kube, namespace).get("state"), "AtLatestKnown")
    status = subscription(kube, namespace)
    assert status["installedCSV"] == status["currentCSV"] == "kernel-module-management.v2.5.0"
    plan = kube.get(PLANS, status["installPlanRef"]["name"], namespace) or {}
    assert (plan["spec"]["approved"], plan["status"]["phase"]) == (True, "Complete")
    assert kube.get(CRDS, "modules.kmm.sigs.x-k8s.io")
    eventually(lambda: running, {"kernel-module-management"})

    label = f"operators.coreos.com/kernel-module-management.{namespace}"
    assert [c["metadata"]["labels"] for c in kube.list(CSVS)] == [{label: ""}]

    kube.delete(CSVS, status["installedCSV"], namespace)
    eventually(lambda: running, set())
    left = kube.get(CRDS, "modules.kmm.sigs.x-k8s.io")
    assert left, "OLM leaves definitions"
    assert label in left["metadata"]["labels"]


def test_a_manual_plan_waits_for_approval(kube: Kube, namespace: str, running: set[str]) -> None:
    group(kube, namespace, namespace)
    subscribe(kube, namespace, "nfd", installPlanApproval="Manual")
    eventually(lambda: subscription(kube, namespace).get("state"), "UpgradePending")
    name = subscription(kube, namespace)["installPlanRef"]["name"]
    eventually(lambda: (kube.get(PLANS, name, namespace) or {}).get("status", {}).get("phase"), "RequiresApproval")
    assert csv(kube, namespace) == {}
    kube.merge(PLANS, PLANS.new(name, namespace), {"spec": {"approved": True}})
    eventually(lambda: running, {"nfd"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "invented"}, "no operators found in package invented"),
        ({"channel": "v0"}, "no operators found in channel v0 of package kernel-module-management"),
        ({"source": "invented"}, "no operators found from catalog invented in namespace olm"),
    ],
    ids=["package", "channel", "catalog"],
)
def test_unknown(kube: Kube, namespace: str, running: set[str], changes: dict[str, str], reason: str) -> None:
    subscribe(kube, namespace, **{"package": "kernel-module-management"} | _argument(changes))
    eventually(lambda: [c["type"] for c in subscription(kube, namespace).get("conditions", [])], ["ResolutionFailed"])
    [condition] = subscription(kube, namespace)["conditions"]
    assert condition["reason"] == "ConstraintsNotSatisfiable"
    assert reason in condition["message"]


def _argument(changes: dict[str, str]) -> dict[str, str]:
    return {"package" if name == "name" else name: value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("targets", "reason"),
    [(None, "NoOperatorGroup"), (["own"], "UnsupportedOperatorGroup")],
    ids=["no group", "kmm watches all namespaces only"],
)
def test_operator_groups(kube: Kube, namespace: str, running: set[str], targets: list[str] | None, reason: str) -> None:
    if targets:
        group(kube, namespace, namespace)
    subscribe(kube, namespace)
    eventually(lambda: csv(kube, namespace).get("reason"), reason)
    assert csv(kube, namespace)["phase"] == "Failed"
    assert running == set()


def test_a_csv_that_fails_and_mends(kube: Kube, namespace: str, running: set[str]) -> None:
    set_fault(kube, "csv-fails", True)
    group(kube, namespace)
    subscribe(kube, namespace)
    eventually(lambda: csv(kube, namespace).get("phase"), "Failed")
    set_fault(kube, "csv-fails", False)
    eventually(lambda: csv(kube, namespace).get("phase"), "Succeeded")


def test_a_csv_left_behind_is_in_the_way(kube: Kube, namespace: str, running: set[str]) -> None:
    group(kube, namespace)
    subscribe(kube, namespace)
    eventually(lambda: subscription(kube, namespace).get("state"), "AtLatestKnown")
    plan = subscription(kube, namespace)["installPlanRef"]["name"]
    kube.delete(SUBSCRIPTIONS, "s", namespace)
    kube.delete(PLANS, plan, namespace)
    subscribe(kube, namespace)
    eventually(lambda: [c["type"] for c in subscription(kube, namespace).get("conditions", [])], ["ResolutionFailed"])
    assert "is not referenced by a subscription" in subscription(kube, namespace)["conditions"][0]["message"]
    kube.delete(CSVS, "kernel-module-management.v2.5.0", namespace)
    eventually(lambda: subscription(kube, namespace).get("state"), "AtLatestKnown")
