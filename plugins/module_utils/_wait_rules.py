# SPDX-License-Identifier: Apache-2.0
"""Waiting for objects: which, and what has to hold for them. Pure. PRIVATE to this collection."""

from __future__ import annotations

import math
import time
import typing as t

try:
    import jmespath
except ImportError:  # the module reports it
    jmespath = None  # type: ignore[assignment]

Json = t.Dict[str, t.Any]


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
    def holding(self) -> t.FrozenSet[t.Tuple[str, str]]:
        return frozenset(key for key, (_item, holds) in self._objects.items() if holds)

    @property
    def matched(self) -> int:
        return len(self.holding)

    @property
    def done(self) -> bool:
        if self._rules.expected is None:
            return bool(self._objects) and self.matched == len(self._objects)
        return self.matched == 0 if self._rules.expected == 0 else self.matched >= self._rules.expected


class Calm:
    """Whether the rules have held for the same objects for some seconds: who waits for all of an unknown number."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: t.FrozenSet[t.Tuple[str, str]] = frozenset()
        self._since = 0.0

    def left(self, seen: Seen) -> float:
        """Seconds for which that has to go on; without end while the rules do not hold."""
        if not seen.done:
            self._since = 0.0
            return math.inf
        now = time.monotonic()
        if not self._since or seen.holding != self._held:
            self._held, self._since = seen.holding, now
        return self._since + self._seconds - now


def named(item: Json) -> str:
    meta = item.get("metadata", {})
    return "/".join(filter(None, [meta.get("namespace"), meta.get("name")]))


__all__ = ("Calm", "Expression", "Rules", "Seen", "Target", "jmespath", "named")
