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
from accelerator_operator.objects import OWNED_KINDS, Obj, generation, is_going
from accelerator_operator.reconcile import Applied, Observed, Plan, conflict, plan, teardown, wanted

log = logging.getLogger(__name__)

# Events wake the operator; these bound how long a missed one can go unnoticed.
SECONDS_WHEN_READY = 60.0
SECONDS_WHEN_NOT = 10.0
# A Module's status has no observedGeneration: for so long after a change what KMM says is of the Module before.
SECONDS_OF_DOUBT = 5.0


class Controller:
    """Holds what one pass needs; between passes it keeps nothing but fingerprints."""

    def __init__(
        self,
        definition: Obj,
        platform: str,
        api: Api,
        metrics: Metrics,
    ) -> None:
        self._definition = definition
        self._platform = platform
        # Where nothing renders RoleBindings, there is no right to list them either.
        self._kinds = [kind for kind in OWNED_KINDS if kind != "RoleBinding" or platform == "openshift"]
        self._api = api
        self._metrics = metrics
        self._nodes: Mapping[str, Collection[Obj]] = {}
        self._kind: str = definition["operator"]["api"]["kind"]
        self._finalizer = f"{definition['operator']['api']['group']}/operator"
        self._applied: dict[str, Applied] = {}

    def use_nodes(self, index: Mapping[str, Collection[Obj]]) -> None:
        """Views of all Nodes by name, kept up to date by whoever watches them."""
        self._nodes = index

    async def reconcile(self, name: str) -> float | None:
        """Seconds until the next look; None when the custom resource is gone. Raises ApiFailure."""
        resource = await self._api.get(self._kind, name)
        if resource is None:
            self._applied.pop(name, None)
            self._metrics.forget(name)
            return None
        self._metrics.reconciles.inc()
        with self._metrics.duration.time(), self._metrics.errors.count_exceptions():
            if is_going(resource):
                return await self._delete(resource)
            return await self._keep(resource)

    async def _keep(self, resource: Obj) -> float:
        if self._finalizer not in resource["metadata"].get("finalizers", []):
            resource = await self._api.apply(self._with_finalizers(resource, [self._finalizer]))
        counts: Obj = {}
        try:
            verdict, counts = await self._converge(resource)
        except ValueError as error:
            verdict = Verdict(False, "InvalidSpec", str(error), failed=True)
        except ApiFailure as error:
            if error.final:  # somebody has to know; the caller tries again in any case
                await self._report(resource, Verdict(False, "ApplyFailed", str(error), failed=True), {})
            raise
        await self._report(resource, verdict, counts)
        return SECONDS_WHEN_READY if verdict.ready else SECONDS_WHEN_NOT

    async def _converge(self, resource: Obj) -> tuple[Verdict, Obj]:
        observed = await self._observe()
        want = wanted(self._definition, self._platform, resource, observed.nodes)
        refusal = conflict(want, resource, observed)
        if refusal:
            return Verdict(False, "Conflict", refusal, failed=True), {}
        applied = self._applied.setdefault(resource["metadata"]["name"], Applied())
        todo = plan(want, resource, observed, applied)
        if todo.apply or todo.delete:
            before = generation(observed.objects, "Module")
            await self._do(todo, applied)
            observed = await self._observe()
            if generation(observed.objects, "Module") != before:
                applied.doubt_until = time.monotonic() + SECONDS_OF_DOUBT
        verdict, counts = assess(want, observed)
        if verdict.ready and time.monotonic() < applied.doubt_until:
            verdict = Verdict(False, "ModuleChanged", "the Module was changed: KMM is about to take it up")
        return verdict, counts

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
        return Observed(
            objects=[obj for found in lists for obj in found],
            nodes=[view for views in self._nodes.values() for view in views],
            pods=pods,
        )

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
        self._metrics.consumers.set(len(counts.get("consumers", [])))
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
