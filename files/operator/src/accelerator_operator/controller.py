# SPDX-License-Identifier: Apache-2.0
"""One pass over one custom resource: read, decide (reconcile.py, assess.py), do, read back, write the status."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

from accelerator_operator.api import Api, ApiFailure
from accelerator_operator.assess import assess
from accelerator_operator.conditions import Verdict, conditions
from accelerator_operator.metrics import Metrics
from accelerator_operator.objects import OWNED_KINDS, Obj, component_of, generation, is_going, pod_is_running
from accelerator_operator.reconcile import Applied, Observed, Plan, conflict, plan, teardown, wanted
from accelerator_operator.telling import Teller

log = logging.getLogger(__name__)

# Events wake the operator; these bound how long a missed one can go unnoticed.
SECONDS_WHEN_READY = 60.0
SECONDS_WHEN_NOT = 10.0
# A Module's status has no observedGeneration: for so long after a change what KMM says is of the Module before.
SECONDS_OF_DOUBT = 5.0
# kopf lists anew after it lost its watch, and does not tell what went meanwhile.
SECONDS_BETWEEN_CENSUSES = 300.0


class Controller:
    """Holds what one pass needs; between passes it keeps nothing but fingerprints, and which Nodes have gone unseen."""

    def __init__(
        self,
        definition: Obj,
        platform: str,
        api: Api,
        metrics: Metrics,
        teller: Teller,
    ) -> None:
        self._definition = definition
        self._platform = platform
        # Where nothing renders RoleBindings, there is no right to list them either.
        self._kinds = [kind for kind in OWNED_KINDS if kind != "RoleBinding" or platform == "openshift"]
        self._api = api
        self._metrics = metrics
        self._teller = teller
        self._nodes: Mapping[str, Collection[Obj]] = {}
        self._kind: str = definition["operator"]["api"]["kind"]
        self._finalizer = f"{definition['operator']['api']['group']}/operator"
        self._applied: dict[str, Applied] = {}
        self._gone: set[str] = set()
        self._latest: Observed | None = None
        self._census_due = 0.0
        self._pass = asyncio.Lock()

    def use_nodes(self, index: Mapping[str, Collection[Obj]]) -> None:
        """Views of all Nodes by name, kept up to date by whoever watches them."""
        self._nodes = index

    def count_nodes(self) -> None:
        """Nodes may have gone unseen."""
        self._census_due = 0.0

    async def reconcile(self, name: str) -> float | None:
        """Seconds until the next look; None when the custom resource is gone. Raises ApiFailure.

        One at a time: of two custom resources, the second has to see what the first wrote.
        """
        async with self._pass:
            try:
                return await self._reconcile(name)
            except ApiFailure:
                self.count_nodes()  # the watch may be lost as well
                raise

    async def _reconcile(self, name: str) -> float | None:
        resource = await self._api.get(self._kind, name)
        if resource is None:
            self._applied.pop(name, None)
            self._metrics.forget(name)
            await self._observe()  # for its count of consumers
            return None
        self._metrics.reconciles.inc()
        with self._metrics.duration.time(), self._metrics.errors.count_exceptions():
            if is_going(resource):
                return await self._delete(resource)
            seconds = await self._keep(resource)
        if self._latest:
            await self._teller.tell(self._latest)
        return seconds

    async def _keep(self, resource: Obj) -> float:
        if self._finalizer not in resource["metadata"].get("finalizers", []):
            resource = await self._api.apply(self._with_finalizers(resource, [self._finalizer]))
        verdict, counts, failure = await self._judged(resource)
        if verdict:
            await self._report(resource, verdict, counts)
        if failure:
            raise failure
        return SECONDS_WHEN_READY if verdict and verdict.ready else SECONDS_WHEN_NOT

    async def _judged(self, resource: Obj) -> tuple[Verdict | None, Obj, ApiFailure | None]:
        """No verdict where a failure will pass by itself; the caller tries again in any case."""
        try:
            verdict, counts, failure = await self._converge(resource)
        except ApiFailure as error:
            verdict, counts, failure = None, {}, error
        if failure and (failure.final or (failure.inner and verdict and not verdict.ready)):
            return Verdict(False, "ApplyFailed", str(failure), failed=failure.final), counts, failure
        return (None if failure else verdict), counts, failure

    async def _converge(self, resource: Obj) -> tuple[Verdict, Obj, ApiFailure | None]:
        """The verdict and the counts of what was read back, and what hindered the writing before."""
        observed = await self._observe()
        try:
            want = wanted(self._definition, self._platform, resource, observed.nodes)
        except ValueError as error:
            return Verdict(False, "InvalidSpec", str(error), failed=True), {}, None
        refusal = conflict(want, resource, observed)
        if refusal:
            return Verdict(False, "Conflict", refusal, failed=True), {}, None
        applied = self._applied.setdefault(resource["metadata"]["name"], Applied())
        todo, failure = plan(want, resource, observed, applied), None
        if todo.apply or todo.delete:
            before = generation(observed.objects, "Module")
            try:
                await self._do(todo, applied)
            except ApiFailure as error:
                failure = error
            observed = await self._observe()
            if generation(observed.objects, "Module") != before:
                applied.doubt_until = time.monotonic() + SECONDS_OF_DOUBT
        verdict, counts = assess(want, observed)
        if verdict.ready and time.monotonic() < applied.doubt_until:
            verdict = Verdict(False, "ModuleChanged", "the Module was changed: KMM is about to take it up")
        return verdict, counts, failure

    async def _delete(self, resource: Obj) -> float:
        if self._finalizer not in resource["metadata"].get("finalizers", []):
            return SECONDS_WHEN_NOT  # another's finalizer holds it
        todo = teardown(self._definition, resource, await self._observe())
        await self._do(todo, Applied())
        if todo.waiting_for:
            await self._report(resource, Verdict(False, "Deleting", todo.waiting_for, deleting=True), {})
            return SECONDS_WHEN_NOT if not todo.delete else 1.0
        await self._api.apply(self._with_finalizers(resource, []))
        log.info("%s %s is cleaned up", self._kind, resource["metadata"]["name"])
        return SECONDS_WHEN_NOT

    async def _observe(self) -> Observed:
        ours = {_names.LABEL_PART_OF: self._definition["name"]}
        lists = await asyncio.gather(*(self._list(kind, ours) for kind in self._kinds))
        pods = await self._api.list("Pod")
        consumers = [pod for pod in pods if component_of(pod, self._definition["name"]) == "consumer"]
        self._metrics.consumers.set(sum(map(pod_is_running, consumers)))
        self._latest = Observed(
            objects=[obj for found in lists for obj in found],
            nodes=[view for view in await self._views() if view["uid"] not in self._gone],
            pods=pods,
        )
        return self._latest

    async def _views(self) -> list[Obj]:
        """Of all Nodes whose deletion was not told; now and then they are counted, to find those that are gone."""
        views = [view for found in self._nodes.values() for view in found]
        if time.monotonic() >= self._census_due:
            there = await self._api.uids("Node")
            self._gone = {view["uid"] for view in views} - there
            self._census_due = time.monotonic() + SECONDS_BETWEEN_CENSUSES
        return views

    async def _list(self, kind: str, labels: dict[str, str]) -> list[Obj]:
        try:
            return await self._api.list(kind, labels)
        except ApiFailure as error:
            if error.code == 404:  # the kind is not served: KMM is not installed, or not any more
                return []
            raise

    async def _do(self, todo: Plan, applied: Applied) -> None:
        for obj in todo.apply:
            live = await self._api.apply(obj)
            if obj["kind"] in OWNED_KINDS:
                applied.record(obj, live)
            log.info("applied %s %s", obj["kind"], obj["metadata"]["name"])
        for obj in todo.delete:
            await self._api.delete(obj)
            log.info("deleted %s %s", obj["kind"], obj["metadata"]["name"])

    async def _report(self, resource: Obj, verdict: Verdict, counts: Obj) -> None:
        """Writes the status if it says something new."""
        before = resource.get("status") or {}
        generation = resource["metadata"]["generation"]
        status = {
            "observedGeneration": generation,
            "conditions": conditions(
                verdict,
                before.get("conditions") or [],
                generation,
                datetime.now(UTC),
                self._definition["timeout"],
            ),
            **counts,
        }
        self._metrics.ready.labels(resource["metadata"]["name"]).set(verdict.ready)
        if status != before:
            log.info("%s %s: %s: %s", self._kind, resource["metadata"]["name"], verdict.reason, verdict.message)
            await self._api.apply({**self._identity(resource), "status": status}, status=True)

    def _identity(self, resource: Obj) -> Obj:
        metadata = {name: resource["metadata"][name] for name in ("name", "namespace", "uid")}
        return {"apiVersion": resource["apiVersion"], "kind": self._kind, "metadata": metadata}

    def _with_finalizers(self, resource: Obj, finalizers: list[str]) -> Obj:
        identity = self._identity(resource)
        return {**identity, "metadata": {**identity["metadata"], "finalizers": finalizers}}
