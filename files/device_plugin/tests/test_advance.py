# SPDX-License-Identifier: Apache-2.0
"""Evidence over time: each row is a story, told in seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerator_device_plugin.health import (
    HEALTHY,
    STATES,
    SUSPECT,
    UNHEALTHY,
    Finding,
    Kind,
    Policy,
    Record,
    advance,
    due,
)

GOOD = Finding(Kind.GOOD, "Present")
BAD = Finding(Kind.BAD, "DriverReportsFault", "health file: failed")
DOUBT = Finding(Kind.DOUBT, "ProbeFailed", "open: Device or resource busy")
SILENT = Finding(Kind.SILENT, "HealthUnreadable", "health: No such file or directory")
POLICY = Policy()


def tell(*looks: tuple[float, Finding], policy: Policy = POLICY) -> Record:
    record = None
    for now, finding in looks:
        record = advance(record, finding, now, policy)
    assert record is not None
    return record


def states(*looks: tuple[float, Finding], policy: Policy = POLICY) -> list[str]:
    return [tell(*looks[: count + 1], policy=policy).state for count in range(len(looks))]


def test_what_the_kernel_says_counts_at_once_both_ways() -> None:
    looks = [(0.0, GOOD), (0.1, BAD), (0.2, GOOD)]
    assert states(*looks) == [HEALTHY, UNHEALTHY, HEALTHY]
    assert tell(*looks[:2]).reason == "DriverReportsFault"
    assert tell(*looks[:2]).evidence == "health file: failed"


def test_one_doubt_is_a_suspicion_and_passes() -> None:
    looks = [(0.0, GOOD), (5.0, DOUBT), (6.0, GOOD), (7.0, GOOD), (8.0, GOOD)]
    assert states(*looks) == [HEALTHY, SUSPECT, SUSPECT, SUSPECT, HEALTHY]
    assert tell(*looks[:3]).reason == "ProbeFailed", "what raised the doubt stays its reason"


def test_two_doubts_of_three_are_a_fault() -> None:
    assert states((0.0, GOOD), (5.0, DOUBT), (6.0, GOOD), (7.0, DOUBT))[-1] == UNHEALTHY
    assert states((0.0, GOOD), (5.0, DOUBT), (6.0, DOUBT), (7.0, GOOD), (8.0, GOOD), (9.0, GOOD)) == [
        HEALTHY, SUSPECT, UNHEALTHY, UNHEALTHY, SUSPECT, HEALTHY,
    ]  # fmt: skip


def test_a_burst_of_events_is_one_look() -> None:
    burst = [(5.0 + step / 100, DOUBT) for step in range(20)]
    assert states((0.0, GOOD), *burst)[-1] == SUSPECT
    assert states((0.0, GOOD), *burst, (5.6, DOUBT))[-1] == UNHEALTHY


def test_silence_is_no_health_after_its_bound_and_never_at_first() -> None:
    assert states((0.0, SILENT), (1.0, GOOD)) == [UNHEALTHY, HEALTHY]
    looks = [(0.0, GOOD), (5.0, SILENT), (10.0, SILENT), (15.0, SILENT), (16.0, GOOD)]
    assert states(*looks) == [HEALTHY, SUSPECT, SUSPECT, UNHEALTHY, HEALTHY]
    assert states(*looks, policy=Policy(silence_is_fault=False))[3] == SUSPECT


def test_silence_does_not_hide_a_fault() -> None:
    record = tell((0.0, GOOD), (1.0, BAD), (2.0, SILENT))
    assert (record.state, record.reason) == (UNHEALTHY, "DriverReportsFault")


def test_a_flapping_device_settles_longer_each_time() -> None:
    looks: list[tuple[float, Finding]] = []
    for start in range(4):
        looks += [(start * 2.0, GOOD), (start * 2.0 + 1, BAD)]
    record = tell(*looks, (8.0, GOOD))
    assert (record.state, record.reason) == (UNHEALTHY, "Flapping")
    assert record.evidence == "4 faults in 300 s: must be well for 10 s"
    assert due(record, POLICY) == 18.0
    assert states(*looks, (8.0, GOOD), (17.9, GOOD), (18.0, GOOD))[-2:] == [UNHEALTHY, HEALTHY]
    again = [*looks, (8.0, GOOD), (18.0, GOOD), (19.0, BAD), (20.0, GOOD)]
    assert due(tell(*again), POLICY) == 40.0
    # A fault while it settles starts the time anew but is no new one: the kubelet never heard of its end.
    assert due(tell(*again, (30.0, BAD), (31.0, GOOD)), POLICY) == 51.0


def test_old_faults_are_forgiven() -> None:
    looks = [(start * 100.0 + offset, what) for start in range(9) for offset, what in ((0, GOOD), (1, BAD))]
    assert states(*looks, (802.0, GOOD))[-1] == HEALTHY


def test_the_settling_time_has_a_bound() -> None:
    record = Record(UNHEALTHY, "NodeMissing", good_since=50.0, faults=tuple(float(n) for n in range(50)))
    assert due(record, POLICY) == 350.0


FINDINGS = st.sampled_from([GOOD, BAD, DOUBT, SILENT])
STORY = st.lists(st.tuples(st.floats(0, 100), FINDINGS), min_size=1, max_size=60)


@given(STORY)
def test_any_story_keeps_the_rules(steps: list[tuple[float, Finding]]) -> None:
    now, record = 0.0, None
    for step, finding in steps:
        now += step
        before, record = record, advance(record, finding, now, POLICY)
        assert record.state in STATES
        assert len(record.looks) <= POLICY.looks
        assert list(record.faults) == sorted(record.faults)
        if finding.kind is Kind.BAD:
            assert record.state == UNHEALTHY
        if before is None and finding.kind is not Kind.GOOD:
            assert record.state != HEALTHY
        if before and before.state == UNHEALTHY and record.state != UNHEALTHY:
            assert finding.kind is Kind.GOOD, "only good news ends a fault"


@given(STORY)
def test_good_news_for_long_enough_always_ends_well(steps: list[tuple[float, Finding]]) -> None:
    now, record = 0.0, None
    for step, finding in steps:
        now += step
        record = advance(record, finding, now, POLICY)
    for _ in range(8):
        now += POLICY.settle_most
        record = advance(record, GOOD, now, POLICY)
    assert record is not None
    assert (record.state, record.reason) == (HEALTHY, "Present")


@given(STORY, st.floats(-1e6, 1e6))
def test_only_differences_of_time_matter(steps: list[tuple[float, Finding]], shift: float) -> None:
    def last(start: float) -> str:
        now, record = start, None
        for step, finding in steps:
            now += round(step)
            record = advance(record, finding, now, POLICY)
        assert record is not None
        return record.state

    assert last(0.0) == last(float(round(shift)))


@pytest.mark.parametrize("finding", [GOOD, BAD, DOUBT, SILENT])
def test_looking_when_due_never_leads_to_a_busy_loop(finding: Finding) -> None:
    record, now, looks = tell((0.0, GOOD), (1.0, DOUBT)), 1.0, 0
    while now < 60.0:
        when = due(record, POLICY)
        now = now + 5.0 if when is None else max(when, now + 0.01)
        record, looks = advance(record, finding, now, POLICY), looks + 1
    assert looks < 60
