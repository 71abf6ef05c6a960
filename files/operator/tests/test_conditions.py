# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from accelerator_operator.conditions import Verdict, conditions, timestamp

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
READY = Verdict(True, "AsExpected", "5 devices")
PENDING = Verdict(False, "ModuleNotLoaded", "node a: no driver")
FAILED = Verdict(False, "NoMatchingNodes", "no node", failed=True)
DELETING = Verdict(False, "Deleting", "Module is going", deleting=True)


def statuses(written: list[dict]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in written}


def after(verdict: Verdict, seconds: float, previous: list[dict], generation: int = 1) -> list[dict]:
    return conditions(verdict, previous, generation, NOW + timedelta(seconds=seconds), patience=600)


@pytest.mark.parametrize(
    ("verdict", "waited", "true"),
    [
        (READY, 0, {"Ready", "Upgradeable"}),
        (PENDING, 0, {"Progressing"}),
        (PENDING, 599, {"Progressing"}),
        (PENDING, 601, {"Degraded", "Upgradeable"}),
        (FAILED, 0, {"Degraded", "Upgradeable"}),
        (DELETING, 0, {"Progressing"}),
        (DELETING, 601, {"Degraded"}),
    ],
)
def test_one_of_ready_progressing_and_degraded_is_true(verdict: Verdict, waited: int, true: set[str]) -> None:
    written = after(verdict, waited, after(PENDING, 0, []))
    assert {kind for kind, status in statuses(written).items() if status == "True"} == true
    assert set(statuses(written)) == {"Ready", "Progressing", "Degraded", "Upgradeable"}


def test_time_is_that_of_the_last_change_of_status() -> None:
    first = after(PENDING, 0, [])
    second = after(Verdict(False, "DevicesMissing", "3 of 5"), 30, first)
    third = after(READY, 60, second)
    assert [written[0]["lastTransitionTime"] for written in (first, second, third)] == [
        timestamp(NOW),
        timestamp(NOW),
        timestamp(NOW + timedelta(seconds=60)),
    ]
    assert second[0]["reason"] == "DevicesMissing"


def test_patience_counts_from_the_loss_of_readiness_not_from_creation() -> None:
    long_ago = after(READY, 0, after(PENDING, -5000, []))
    assert statuses(after(PENDING, 10, long_ago))["Progressing"] == "True"


@pytest.mark.parametrize("given_up", [FAILED, PENDING])
def test_patience_begins_anew_with_what_is_wanted(given_up: Verdict) -> None:
    degraded = after(given_up, 700, after(PENDING, 0, []))
    assert statuses(degraded)["Degraded"] == "True"
    mended = after(PENDING, 710, degraded, generation=2)
    assert (statuses(mended)["Progressing"], statuses(mended)["Upgradeable"]) == ("True", "False")
    still = after(PENDING, 710 + 599, mended, generation=2)
    assert statuses(still)["Progressing"] == "True"
    assert statuses(after(PENDING, 710 + 601, still, generation=2))["Degraded"] == "True"
    deleted = after(DELETING, 5000, degraded, generation=2)
    assert statuses(deleted)["Progressing"] == "True"


def test_a_status_that_says_the_same_is_equal() -> None:
    first = after(PENDING, 0, [])
    assert after(PENDING, 30, first) == first


def test_a_late_one_says_since_when() -> None:
    late = after(PENDING, 700, after(PENDING, 0, []))
    assert late[2]["message"] == "node a: no driver (not ready for more than 600 s)"
