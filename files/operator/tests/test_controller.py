# SPDX-License-Identifier: Apache-2.0
"""Whole passes over an API server that is a dictionary."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from accelerator_operator.api import ApiFailure
from accelerator_operator.controller import Controller
from accelerator_operator.metrics import Metrics
from accelerator_operator.objects import labels, owner_uid
from accelerator_operator.telling import Teller
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests, _names
from conftest import make_definition
from prometheus_client import CollectorRegistry

Obj = dict[str, Any]
DEFINITION = make_definition("accel")
KIND = DEFINITION["operator"]["api"]["kind"]
NODE_LABELS = {
    "example.com/accel": "yes",
    _names.ready_label(DEFINITION): "",
    _names.version_label(DEFINITION): "0.1.0",
}


class Cluster:
    """Api's methods. Each lets others run first, as a request does.

    fails: which apply fails, and how. turns: how many turns of the others an apply takes.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Obj] = {}
        self.fails: Callable[[Obj], ApiFailure | None] = lambda obj: None
        self.turns: Callable[[Obj], int] = lambda obj: 1
        self.nodes: dict[str, list[Obj]] = {}
        self.there: set[str] = set()
        self.users: dict[tuple[str, str], Obj] = {}
        self.looked_up: list[str] = []
        self.events: list[Obj] = []
        self.censuses = 0
        self._numbers = itertools.count(1)

    async def get(self, kind: str, name: str) -> Obj | None:
        await asyncio.sleep(0)
        return copy.deepcopy(self.objects.get((kind, name)))

    async def list(self, kind: str, wanted: dict[str, str] | None = None) -> list[Obj]:
        await asyncio.sleep(0)
        found = [obj for (of, _), obj in self.objects.items() if of == kind]
        return copy.deepcopy([obj for obj in found if (wanted or {}).items() <= labels(obj).items()])

    async def pod(self, namespace: str, name: str) -> Obj | None:
        await asyncio.sleep(0)
        self.looked_up.append(f"{namespace}/{name}")
        return copy.deepcopy(self.users.get((namespace, name)))

    async def create_event(self, obj: Obj) -> None:
        await asyncio.sleep(0)
        if failure := self.fails(obj):
            raise failure
        self.events.append(copy.deepcopy(obj))

    async def uids(self, kind: str) -> set[str]:
        await asyncio.sleep(0)
        self.censuses += 1
        return set(self.there)

    async def apply(self, obj: Obj, status: bool = False) -> Obj:
        for _ in range(self.turns(obj)):
            await asyncio.sleep(0)
        if not status and (failure := self.fails(obj)):
            raise failure
        at = obj["kind"], obj["metadata"]["name"]
        old = self.objects.get(at, {"metadata": {"uid": f"uid-{next(self._numbers)}", "generation": 1}})
        metadata = {**old["metadata"], **obj["metadata"]}
        self.objects[at] = copy.deepcopy({**old, **obj, "metadata": metadata})
        return copy.deepcopy(self.objects[at])

    async def delete(self, obj: Obj) -> None:
        await asyncio.sleep(0)
        self.objects.pop((obj["kind"], obj["metadata"]["name"]), None)

    # What others do.

    def create(self, name: str) -> None:
        made = _manifests.custom_resource(DEFINITION, DEFINITION["images"])
        made["metadata"] |= {"name": name, "uid": f"uid-{name}", "generation": 1}
        self.objects[KIND, name] = made

    def add_node(self, name: str, uid: str = "") -> None:
        view = {"name": name, "uid": uid or name, "ready": True, "taints": [], "labels": dict(NODE_LABELS)}
        self.nodes.setdefault(name, []).append({**view, "allocatable": {DEFINITION["resource"]: "5"}})
        self.there.add(uid or name)

    def run(self, count: int) -> None:
        """All that the objects want is there, on so many nodes."""
        loader = {"desiredNumber": count, "availableNumber": count}
        self.objects["Module", "accel"]["status"] = {"moduleLoader": loader}
        daemons = {"desiredNumberScheduled": count, "numberReady": count, "updatedNumberScheduled": count}
        self.objects["DaemonSet", "accel-device-plugin"]["status"] = {**daemons, "observedGeneration": 1}
        pods = {"availableReplicas": 1, "updatedReplicas": 1, "observedGeneration": 1}
        self.objects["Deployment", "accel-consumer"]["status"] = pods
        metadata = {
            "name": "consumer-1",
            "labels": {_names.LABEL_INSTANCE: "accel", _names.LABEL_COMPONENT: "consumer"},
        }
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.objects["Pod", "consumer-1"] = {"kind": "Pod", "metadata": metadata, "status": ready}

    def ready(self, name: str = "accel") -> Obj:
        conditions = self.objects[KIND, name].get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == "Ready"), {"status": "", "reason": ""})


class Pass:
    def __init__(self) -> None:
        self.cluster, self.registry = Cluster(), CollectorRegistry()
        self.reports: dict[str, Any] = {}  # by pod IP
        api: Any = self.cluster
        teller = Teller(DEFINITION, api, self.ask)
        self.controller = Controller(DEFINITION, "kubernetes", api, Metrics(KIND, self.registry), teller)
        self.controller.use_nodes(self.cluster.nodes)

    async def ask(self, address: str) -> Any:
        report = self.reports[address]
        if isinstance(report, Exception):
            raise report
        return report

    def consumers(self) -> float | None:
        return self.registry.get_sample_value(f"{KIND}_consumers")

    async def settle(self, *names: str) -> None:
        for _ in range(3):
            for name in names:
                await self.controller.reconcile(name)
        self.controller._applied[names[0]].doubt_until = 0.0
        await self.controller.reconcile(names[0])


def play(scenario: Callable[[Pass], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(Pass()), 10))


def test_of_two_custom_resources_at_once_one_is_served() -> None:
    async def scenario(it: Pass) -> None:
        cluster = it.cluster
        cluster.add_node("a")
        cluster.create("accel")
        cluster.create("second")
        # Each is the last to write something, when they write at the same time.
        cluster.turns = lambda obj: 200 if (obj["kind"], owner_uid(obj)) == ("Module", "uid-accel") else 1
        await asyncio.gather(it.controller.reconcile("accel"), it.controller.reconcile("second"))
        owners = {owner_uid(obj) for (kind, _), obj in cluster.objects.items() if kind != KIND} - {None}
        assert len(owners) == 1
        (served,) = (name for name in ("accel", "second") if f"uid-{name}" in owners)
        other = {"accel": "second", "second": "accel"}[served]
        cluster.run(1)
        await it.settle(served, other)
        assert (cluster.ready(served)["status"], cluster.ready(other)["reason"]) == ("True", "Conflict")
        assert it.consumers() == 1
        del cluster.objects[KIND, other]
        assert await it.controller.reconcile(other) is None
        assert it.consumers() == 1, "what goes is not what runs"

    play(scenario)


def test_a_node_that_went_unseen_is_not_waited_for() -> None:
    """After a lost watch kopf's index holds the Node that went, and the one of the same name that came."""

    async def scenario(it: Pass) -> None:
        cluster = it.cluster
        cluster.add_node("a")
        cluster.add_node("b")
        cluster.create("accel")
        await it.controller.reconcile("accel")
        cluster.run(2)
        await it.settle("accel")
        assert cluster.ready()["status"] == "True"
        cluster.there = {"a", "new-b"}
        cluster.add_node("b", uid="new-b")
        cluster.nodes["b"][0]["labels"].pop(_names.version_label(DEFINITION))
        gone = ApiFailure("apply Node b", "uid in precondition", 409)
        cluster.fails = lambda obj: gone if obj["metadata"].get("uid") == "b" else None
        with pytest.raises(ApiFailure):
            await it.controller.reconcile("accel")
        assert cluster.ready()["status"] == "True", "a conflict passes by itself"
        await it.controller.reconcile("accel")
        status = cluster.objects[KIND, "accel"]["status"]
        assert status["nodes"] == {"matching": 2, "moduleLoaded": 2, "devicesReady": 2}
        censuses = cluster.censuses
        await it.controller.reconcile("accel")
        assert cluster.censuses == censuses, "not at each pass"

    play(scenario)


@pytest.mark.parametrize(
    ("code", "ready_before", "reason", "degraded"),
    [
        (403, True, "ApplyFailed", "True"),
        (403, False, "ApplyFailed", "True"),
        (500, True, "AsExpected", "False"),  # KMM's webhook does not answer for a moment
        (500, False, "ApplyFailed", "False"),
        (409, False, "ModuleNotLoaded", "False"),
        (None, False, "ModuleNotLoaded", "False"),
    ],
)
def test_what_cannot_be_written_is_told(code: int | None, ready_before: bool, reason: str, degraded: str) -> None:
    async def scenario(it: Pass) -> None:
        cluster = it.cluster
        cluster.add_node("a")
        cluster.create("accel")
        await it.controller.reconcile("accel")
        if ready_before:
            cluster.run(1)
            await it.settle("accel")
        counts = copy.deepcopy(cluster.objects[KIND, "accel"]["status"]["nodes"])
        module = cluster.objects["Module", "accel"]
        module["spec"] = {**module["spec"], "selector": {"changed": "by hand"}}
        failure = ApiFailure("apply Module accel", "no", code)
        cluster.fails = lambda obj: failure if obj["kind"] == "Module" else None
        for _ in range(2):
            with pytest.raises(ApiFailure, match="apply Module accel: no"):
                await it.controller.reconcile("accel")
        status = cluster.objects[KIND, "accel"]["status"]
        conditions = {one["type"]: one for one in status["conditions"]}
        assert (conditions["Ready"]["reason"], conditions["Degraded"]["status"]) == (reason, degraded)
        assert status["nodes"] == counts, "what was seen is still told"

    play(scenario)


def test_a_pod_whose_device_dies_is_told_once() -> None:
    async def scenario(it: Pass) -> None:
        cluster = it.cluster
        cluster.add_node("a")
        cluster.create("accel")
        await it.controller.reconcile("accel")
        cluster.run(1)
        await it.settle("accel")
        plugin = {
            "name": "plugin-1",
            "labels": {_names.LABEL_INSTANCE: "accel", _names.LABEL_COMPONENT: "device-plugin"},
        }
        status = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.7"}
        cluster.objects["Pod", "plugin-1"] = {
            "kind": "Pod",
            "metadata": plugin,
            "spec": {"nodeName": "a"},
            "status": status,
        }
        cluster.users["team", "training"] = {"metadata": {"uid": "uid-t"}, "spec": {"nodeName": "a"}}
        cluster.users["team", "elsewhere"] = {"metadata": {"uid": "uid-e"}, "spec": {"nodeName": "b"}}
        holders = [{"namespace": "team", "name": name, "container": "c"} for name in ("training", "elsewhere", "gone")]
        dead = {"id": "3", "health": "Unhealthy", "reason": "DriverReportsFault", "since": "t1", "pods": holders}
        it.reports["10.0.0.7"] = {"devices": [dead, {"id": "4", "health": "Healthy", "pods": holders}]}
        await it.controller.reconcile("accel")
        assert cluster.looked_up == [], "all devices are on offer: nobody is asked"

        counted = {"capacity": {DEFINITION["resource"]: "5"}, "allocatable": {DEFINITION["resource"]: "4"}}
        cluster.nodes["a"][0] |= counted
        refused = ApiFailure("create Event", "no", 403)
        cluster.fails = lambda obj: refused if obj["kind"] == "Event" else None
        await it.controller.reconcile("accel")
        assert cluster.events == []
        cluster.fails = lambda obj: None
        for _ in range(3):
            await it.controller.reconcile("accel")
        (event,) = cluster.events
        assert event["regarding"] == {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "team",
            "name": "training",
            "uid": "uid-t",
        }
        assert "device 3 of example.com/accel on node a died: DriverReportsFault" in event["note"]

        it.reports["10.0.0.7"] = ValueError("no JSON")  # what tells cannot hinder what keeps
        await it.controller.reconcile("accel")
        it.reports["10.0.0.7"] = {"devices": [{**dead, "since": "t2", "pods": holders[:1]}]}
        await it.controller.reconcile("accel")
        assert len({one["metadata"]["name"] for one in cluster.events}) == 2, "another death is another Event"

    play(scenario)
