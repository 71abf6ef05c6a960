# SPDX-License-Identifier: Apache-2.0
"""From evidence about a device, over time, to a state. Pure; `evidence.py` collects, this module judges.

Time is always an argument, in seconds of a clock that never jumps (CLOCK_MONOTONIC): setting the node's date
changes no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

HEALTHY = "Healthy"  # this and Unhealthy are the kubelet's two words
SUSPECT = "Suspect"  # ours; the kubelet is told Healthy
UNHEALTHY = "Unhealthy"
STATES = (HEALTHY, SUSPECT, UNHEALTHY)


@dataclass(frozen=True)
class Evidence:
    """What was seen of a device. `kernel_name` is the kernel's name (DEVNAME) for the node's number."""

    exists: bool
    character: bool = False
    name: str | None = None
    kernel_name: str | None = None
    serial: str | None = None
    numa: int | None = None
    word: str | None = None  # what the driver's health file holds
    word_error: str | None = None  # why it could not be read
    probe_error: str | None = None  # why the device could not be opened


class Kind(Enum):
    GOOD = "good"
    BAD = "bad"  # the kernel or the driver says so: there is nothing to wait for
    DOUBT = "doubt"  # may be passing: counts, N of M
    SILENT = "silent"  # nothing said the device is well, nothing said it is not


@dataclass(frozen=True)
class Finding:
    """What one look came to. `evidence` is for people, `reason` for programs."""

    kind: Kind
    reason: str
    evidence: str = ""


@dataclass(frozen=True)
class Policy:
    good_words: tuple[str, ...] = ("ok",)
    # N of the last M looks, at least `spacing` seconds apart: a burst of events does not count as many looks.
    doubts: int = 2
    looks: int = 3
    spacing: float = 0.5
    # A source that is silent for `silence` seconds is not health. `silence_is_fault` False: only a suspicion.
    silence: float = 15.0
    silence_is_fault: bool = True
    # More than `free_faults` faults within `window` seconds: the device must be well for `settle` seconds
    # before it is offered again, twice as long for each further fault, `settle_most` at most.
    free_faults: int = 3
    window: float = 300.0
    settle: float = 10.0
    settle_most: float = 300.0


@dataclass(frozen=True)
class Record:
    """What is known of a device from all looks so far."""

    state: str
    reason: str
    evidence: str = ""
    looks: tuple[bool, ...] = ()  # the last ones that counted, newest last; True is a doubt
    counted_at: float = float("-inf")
    heard_at: float | None = None  # when something was last said about it
    good_since: float | None = None
    faults: tuple[float, ...] = ()  # when it became unhealthy, within the policy's window


def judge(seen: Evidence | None, policy: Policy) -> Finding:
    """One look. None: looking did not come to an end in time."""
    if seen is None:
        return Finding(Kind.SILENT, "NoAnswer", "looking at the device does not end")
    if not seen.exists:
        return Finding(Kind.BAD, "NodeMissing")
    if not seen.character:
        return Finding(Kind.BAD, "NotACharacterDevice")
    if seen.kernel_name is None:
        # A node made by hand outlives its driver; opening it would fail with ENXIO.
        return Finding(Kind.BAD, "NoDriver")
    if seen.kernel_name != seen.name:
        # Dynamic minors are given again: the old node would lead into another driver's device.
        other = _printable(seen.kernel_name)
        return Finding(Kind.BAD, "OtherDriver", f"the kernel's device of this number is {other}")
    said = f"health file: {_printable(seen.word)}" if seen.word else ""
    if seen.word and seen.word not in policy.good_words:
        return Finding(Kind.BAD, "DriverReportsFault", said)
    if seen.probe_error is not None:
        return Finding(Kind.DOUBT, "ProbeFailed", seen.probe_error)
    if seen.word_error is not None or seen.word == "":
        return Finding(Kind.SILENT, "HealthUnreadable", seen.word_error or "health file: empty")
    return Finding(Kind.GOOD, "Present", said)


def advance(record: Record | None, finding: Finding, now: float, policy: Policy) -> Record:
    """The record after another look. None: the first one."""
    old = record or Record(UNHEALTHY, finding.reason)
    old = replace(old, faults=tuple(at for at in old.faults if now - at < policy.window))
    if finding.kind is not Kind.SILENT:
        old = replace(old, heard_at=now)
    if finding.kind is Kind.BAD:
        return _fault(record, replace(old, looks=(), counted_at=now), finding, now)
    if finding.kind is Kind.SILENT:
        return _silent(record, old, finding, now, policy)
    old = _count(old, finding.kind is Kind.DOUBT, now, policy)
    if finding.kind is Kind.DOUBT:
        if sum(old.looks) >= policy.doubts:
            return _fault(record, old, finding, now)
        suspected = replace(old, good_since=None, reason=finding.reason, evidence=finding.evidence)
        # A device that was unhealthy stays so. One never seen before gets the benefit of the doubt.
        return replace(suspected, state=UNHEALTHY if record and record.state == UNHEALTHY else SUSPECT)
    return _good(record, old, finding, now, policy)


def due(record: Record, policy: Policy) -> float | None:
    """When to look again though no event comes: a doubt wants another look, silence and settling end."""
    if record.state == SUSPECT:
        if any(record.looks):
            return record.counted_at + policy.spacing
        if policy.silence_is_fault and record.heard_at is not None:
            return record.heard_at + policy.silence
    if record.state == UNHEALTHY and record.good_since is not None:
        return max(record.good_since + settling(record, policy), record.counted_at + policy.spacing)
    return None


def settling(record: Record, policy: Policy) -> float:
    """Seconds for which a device with these faults must be well before it is offered again."""
    excess = len(record.faults) - policy.free_faults
    return 0.0 if excess <= 0 else min(policy.settle * 2.0 ** min(excess - 1, 32), policy.settle_most)


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _printable(text: str) -> str:
    """What a driver says goes into logs and pages."""
    return printable(text[:80])


def _good(record: Record | None, old: Record, finding: Finding, now: float, policy: Policy) -> Record:
    since = now if old.good_since is None else old.good_since
    old = replace(old, good_since=since)
    if record is not None and record.state == UNHEALTHY:
        if sum(old.looks) >= policy.doubts:
            return replace(old, evidence="well again, not yet often enough")
        if now - since < (bound := settling(old, policy)):
            return replace(
                old,
                reason="Flapping",
                evidence=f"{len(old.faults)} faults in {policy.window:g} s: must be well for {bound:g} s",
            )
    if any(old.looks):
        return replace(old, state=SUSPECT)  # what raised the doubt still counts, and stays its reason
    return replace(old, state=HEALTHY, reason=finding.reason, evidence=finding.evidence)


def _silent(record: Record | None, old: Record, finding: Finding, now: float, policy: Policy) -> Record:
    """Silence is not health: it is tolerated for a while by a device that was well, and by no other."""
    old = replace(old, good_since=None)
    if record is None or record.state == UNHEALTHY:
        # What made it unhealthy stays its reason.
        return replace(old, evidence=finding.evidence) if record is None else old
    if policy.silence_is_fault and (old.heard_at is None or now - old.heard_at >= policy.silence):
        return _fault(record, old, finding, now)
    counted_at = now if any(old.looks) else old.counted_at
    return replace(
        old, state=SUSPECT, reason=finding.reason, evidence=finding.evidence, counted_at=counted_at
    )


def _fault(record: Record | None, old: Record, finding: Finding, now: float) -> Record:
    # A device that was never well has not failed.
    fresh = record is not None and record.state != UNHEALTHY
    return replace(
        old,
        state=UNHEALTHY,
        reason=finding.reason,
        evidence=finding.evidence,
        good_since=None,
        faults=(*old.faults, now) if fresh else old.faults,
    )


def _count(old: Record, doubt: bool, now: float, policy: Policy) -> Record:
    if now - old.counted_at < policy.spacing and not (doubt and not any(old.looks[-1:])):
        return old  # too soon to be a look of its own; only a first doubt never waits for the clock
    return replace(old, looks=(*old.looks, doubt)[-policy.looks :], counted_at=now)
