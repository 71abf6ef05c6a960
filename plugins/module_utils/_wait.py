# SPDX-License-Identifier: Apache-2.0
"""Waiting for objects: the loop that watches, and what to say when it ends in vain. PRIVATE to this collection."""

from __future__ import annotations

import json
import math
import time
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import (
    Api,
    ClusterError,
    Json,
    Refused,
    Resource,
    Unreachable,
    pause,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._wait_pods import Pods
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._wait_rules import (
    Calm,
    Expression,
    Rules,
    Seen,
    Target,
    named,
)

FIRST_CONTACT = 30  # seconds; a cluster that never answered is not one that restarts
RETRY = 1.0  # seconds between tries while the API server is away or the kind is not served
SHOWN = 10  # objects that a message shows
PODS_EVERY = 5.0  # seconds between two looks at the pods that do the work


class Outcome(t.NamedTuple):
    seen: Seen
    elapsed: float
    trouble: str  # why the last try told nothing new; empty when it did
    failed: str = ""  # the pod that failed while it waited, and what it said


def wait(
    api: Api,
    target: Target,
    rules: Rules,
    timeout: float,
    look_once: bool = False,
    pods: Pods | None = None,
    settle: float = 0.0,
) -> Outcome:
    """Watches until the rules hold, one of the objects or of the pods fails, or the time is over."""
    start, calm = time.monotonic(), Calm(settle)
    seen, trouble, failed, answered = Seen(rules), "", "", False

    def left() -> float:
        return start + timeout - time.monotonic()

    while True:
        try:
            resource = _find(api, target)
            answered = True
            if resource is None:
                seen, trouble = Seen(rules), not_served(api, target)
                if rules.expected == 0:
                    break
            else:
                path = resource.path(target.namespace)
                items, version = api.pages(path, **target.query)
                seen, trouble = Seen(rules, _typed(items, target)), ""
                if look_once or calm.left(seen) <= 0 or seen.failed:
                    break
                if pods and (failed := pods.look(api)):
                    break
                turn = min(left(), calm.left(seen), PODS_EVERY if pods else math.inf)
                if turn > 0 and _follow(api.watch(path, version, turn, **target.query), seen, calm):
                    break
        except ClusterError as error:
            if not _passing(error, answered or time.monotonic() - start < FIRST_CONTACT):
                raise
            trouble = str(error)
        if look_once or left() <= 0:
            break
        if trouble:
            pause(min(RETRY, max(0.0, left())))
    if pods and not seen.done:
        trouble = "; ".join([*filter(None, [trouble]), *pods.seen[:SHOWN]])
    return Outcome(seen, time.monotonic() - start, trouble, failed)


def _find(api: Api, target: Target) -> Resource | None:
    return next((r for r in api.discover_one(target.api_version) if r.kind == target.kind), None)


def _follow(events: t.Iterable[Json], seen: Seen, calm: Calm) -> bool:
    """Takes in events; True as soon as they settle it, False when a new watch is due."""
    was_done = seen.done
    for event in events:
        if event["type"] == "BOOKMARK":
            continue
        if event["type"] == "DELETED":
            seen.remove(event["object"])
        else:
            seen.put(event["object"])
        if seen.failed or calm.left(seen) <= 0:
            return True
        if seen.done != was_done:  # it now waits for another time
            return False
    return False


def _passing(error: ClusterError, known: bool) -> bool:
    """Whether it may be over soon; 404 is a CRD that was just deleted or replaced."""
    if isinstance(error, Refused) and error.status == 404:
        return True
    return error.passing and (known or not isinstance(error, Unreachable))


def _typed(items: t.Iterable[Json], target: Target) -> list[Json]:
    """Items of a list come without kind and apiVersion, those of a watch with them."""
    return [{"apiVersion": target.api_version, "kind": target.kind, **item} for item in items]


def trimmed(item: Json) -> Json:
    """Without the book-keeping that nobody reads and that is longer than the rest."""
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"}}


def not_served(api: Api, target: Target) -> str:
    return f"{api.server} does not serve kind {target.kind} in {target.api_version}; is its CRD installed?"


def brief(item: Json, show: Expression | None) -> str:
    """One object in a message: what `show` says, or else its phase or its conditions."""
    value = show.value(item) if show else None
    if value is not None:
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    status = item.get("status") or {}
    conditions = [f"{c.get('type')}={c.get('status')}" for c in status.get("conditions") or []]
    return str(status.get("phase") or " ".join(conditions) or "exists")


def timed_out(what: str, rules: Rules, show: Expression | None, outcome: Outcome, next_step: str | None) -> str:
    """The message of a wait that ran out of time: what, expected, seen, next step."""
    seen = outcome.seen
    objects = seen.items if rules.expected == 0 else seen.lacking
    shown = [f"{named(item)}: {brief(item, show)}" for item in objects[:SHOWN]]
    if len(objects) > SHOWN:
        shown.append(f"and {len(objects) - SHOWN} more")
    expected = {None: "all, and at least one", 0: "none"}.get(rules.expected, f"{rules.expected}")
    parts = [
        f"{what}: not so after {outcome.elapsed:.0f} s",
        f"expected {expected} with {rules.until.text}" if rules.until.text != "@" else f"expected {expected}",
        f"seen {seen.matched} of {len(seen.items)}" + (f" ({', '.join(shown)})" if shown else ""),
        outcome.trouble,
        f"next: {next_step}" if next_step else "",
    ]
    return "; ".join(filter(None, parts))


def in_vain(
    what: str,
    rules: Rules,
    message: Expression | None,
    show: Expression | None,
    outcome: Outcome,
    next_step: str | None,
) -> str:
    """The message of a wait that was given up, because an object or a pod says that it will never be."""
    item = outcome.seen.failed
    objects = [item] if item else outcome.seen.lacking[:1]
    reason = outcome.failed
    if item:
        said = (brief(item, message) if message else "") or f"{rules.fail_when.text if rules.fail_when else ''} holds"
        reason = f"{item.get('kind', 'object')} {named(item)}: {said}"
    parts = [
        f"{what}: waiting is in vain",
        reason,
        f"seen {', '.join(brief(each, show) for each in objects)}" if objects and (show or not message) else "",
        f"next: {next_step}" if next_step else "",
    ]
    return "; ".join(filter(None, parts))


__all__ = ("Expression", "Outcome", "Rules", "Seen", "Target", "brief", "in_vain", "timed_out", "trimmed", "wait")
