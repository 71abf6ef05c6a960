# SPDX-License-Identifier: Apache-2.0
"""A verdict, the conditions written before and the time -> the conditions to write. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Condition = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Where the chain from driver to consumer stands; `failed` when no waiting will mend it."""

    ready: bool
    reason: str
    message: str
    failed: bool = False
    deleting: bool = False


def timestamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_on_the_way(previous: list[Condition], generation: int, now: datetime) -> float:
    """For how long what is wanted now has been on its way: since Ready was lost, or since a change of what is wanted
    ended a Degraded."""
    before = {condition["type"]: condition for condition in previous}
    given_up, starts = before.get("Degraded", {}), []
    if given_up.get("status") == "True" and given_up.get("observedGeneration") != generation:
        return 0.0
    for kind, waiting in (("Ready", "False"), ("Progressing", "True")):
        if before.get(kind, {}).get("status") == waiting:
            starts.append(datetime.fromisoformat(before[kind]["lastTransitionTime"].replace("Z", "+00:00")))
    return (now - max(starts)).total_seconds() if starts else 0.0


def conditions(
    verdict: Verdict, previous: list[Condition], generation: int, now: datetime, patience: float
) -> list[Condition]:
    """Ready, Progressing, Degraded, Upgradeable.

    Exactly one of Ready, Progressing and Degraded is True: what is not there yet is on its way, until something fails
    for good or `patience` seconds are over; a new generation has them anew. Upgradeable is False while a change is on
    its way.
    """
    late = seconds_on_the_way(previous, generation, now) > patience
    degraded = not verdict.ready and (verdict.failed or late)
    progressing = not verdict.ready and not degraded
    message = verdict.message
    if degraded and not verdict.failed:
        message = f"{message} (not ready for more than {patience:.0f} s)"
    before = {condition["type"]: condition for condition in previous}

    def condition(kind: str, status: bool, reason: str, text: str) -> Condition:
        old = before.get(kind, {})
        changed = old.get("status") != str(status)
        return {
            "type": kind,
            "status": str(status),
            "reason": reason,
            "message": text,
            "lastTransitionTime": timestamp(now) if changed else old["lastTransitionTime"],
            "observedGeneration": generation,
        }

    def unless(status: bool) -> tuple[str, str]:
        return (verdict.reason, message) if status else ("AsExpected", "")

    settled = not progressing and not verdict.deleting
    return [
        condition("Ready", verdict.ready, verdict.reason, message),
        condition("Progressing", progressing, *unless(progressing)),
        condition("Degraded", degraded, *unless(degraded)),
        condition("Upgradeable", settled, *unless(not settled)),
    ]
