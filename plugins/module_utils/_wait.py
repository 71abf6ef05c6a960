# SPDX-License-Identifier: Apache-2.0
"""Waiting for objects: what holds (pure), and the loop that watches. PRIVATE to this collection."""

from __future__ import annotations

import json
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

try:
    import jmespath
except ImportError:  # the module reports it
    jmespath = None  # type: ignore[assignment]

FIRST_CONTACT = 30  # seconds; a cluster that never answered is not one that restarts
RETRY = 1.0  # seconds between tries while the API server is away or the kind is not served
SHOWN = 10  # objects that a message shows
PODS_EVERY = 5.0  # seconds between two looks at the pods that do the work


class Target(t.NamedTuple):
    """Which objects."""

    api_version: str
    kind: str
    name: str | None = None
    namespace: str | None = None
    labels: t.Sequence[str] = ()
    fields: t.Sequence[str] = ()

    @property
    def query(self) -> Json:
        name = [f"metadata.name={self.name}"] if self.name else []
        return {"labelSelector": ",".join(self.labels), "fieldSelector": ",".join([*name, *self.fields])}

    def __str__(self) -> str:
        which = " ".join([self.name or "", *self.labels, *self.fields]).strip()
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind}{' ' if which else ''}{which}{where}"


class Expression:
    """A JMESPath expression; the option's name stands in the message when it cannot be read."""

    def __init__(self, option: str, text: str) -> None:
        self.text = text
        try:
            self._parsed = jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            said = " ".join(str(error).split())
            raise ValueError(
                f"{option} is no JMESPath expression: {text!r}: {said}; keys with dots, slashes "
                "or dashes are quoted like metadata.labels.\"example.com/key\", strings like 'this', numbers like `1`"
            ) from None

    def value(self, item: Json) -> t.Any:
        try:
            return self._parsed.search(item)
        except jmespath.exceptions.JMESPathTypeError:
            return None  # a function got null, because the object has no status yet
        except jmespath.exceptions.JMESPathError as error:
            raise ValueError(f"{self.text!r} cannot be applied to {named(item)}: {error}") from None

    def holds(self, item: Json) -> bool:
        return bool(self.value(item))


class Rules(t.NamedTuple):
    """What is waited for."""

    until: Expression
    expected: int | None  # None: all that are there, and at least one
    fail_when: Expression | None = None


class Seen:
    """The objects as they are now; each is judged once, when it changes."""

    def __init__(self, rules: Rules, items: t.Iterable[Json] = ()) -> None:
        self._rules = rules
        self._objects: dict[tuple[str, str], tuple[Json, bool]] = {}
        self.failed: Json | None = None
        for item in items:
            self.put(item)

    def put(self, item: Json) -> None:
        meta = item["metadata"]
        self._objects[meta.get("namespace", ""), meta["name"]] = (item, self._rules.until.holds(item))
        if self._rules.fail_when and self._rules.fail_when.holds(item):
            self.failed = item

    def remove(self, item: Json) -> None:
        meta = item["metadata"]
        self._objects.pop((meta.get("namespace", ""), meta["name"]), None)

    @property
    def items(self) -> list[Json]:
        return [item for _key, (item, _holds) in sorted(self._objects.items(), key=lambda pair: pair[0])]

    @property
    def lacking(self) -> list[Json]:
        return [item for _key, (item, holds) in sorted(self._objects.items(), key=lambda pair: pair[0]) if not holds]

    @property
    def matched(self) -> int:
        return sum(holds for _item, holds in self._objects.values())

    @property
    def done(self) -> bool:
        if self._rules.expected is None:
            return bool(self._objects) and self.matched == len(self._objects)
        return self.matched == 0 if self._rules.expected == 0 else self.matched >= self._rules.expected


class Outcome(t.NamedTuple):
    seen: Seen
    elapsed: float
    trouble: str  # why the last try told nothing new; empty when it did
    failed: str = ""  # the pod that failed while it waited, and what it said


def wait(
    api: Api, target: Target, rules: Rules, timeout: float, look_once: bool = False, pods: Pods | None = None
) -> Outcome:
    """Watches until the rules hold, one of the objects or of the pods fails, or the time is over."""
    start = time.monotonic()
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
                if look_once or seen.done or seen.failed:
                    break
                if pods and (failed := pods.look(api)):
                    break
                turn = min(left(), PODS_EVERY) if pods else left()
                if turn > 0 and _follow(api, path, version, target, seen, turn):
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


def _follow(api: Api, path: str, version: str, target: Target, seen: Seen, seconds: float) -> bool:
    """Takes in events; True as soon as they settle it, False when the watch ends before."""
    for event in api.watch(path, version, seconds, **target.query):
        if event["type"] == "BOOKMARK":
            continue
        if event["type"] == "DELETED":
            seen.remove(event["object"])
        else:
            seen.put(event["object"])
        if seen.done or seen.failed:
            return True
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


def named(item: Json) -> str:
    meta = item.get("metadata", {})
    return "/".join(filter(None, [meta.get("namespace"), meta.get("name")]))


def brief(item: Json, show: Expression | None) -> str:
    """One object in a message: what `show` says, or else its phase or its conditions."""
    if show:
        value = show.value(item)
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
