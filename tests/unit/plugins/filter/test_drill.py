# SPDX-License-Identifier: Apache-2.0
"""What came of drills, as text and as a page that loads nothing."""

from __future__ import annotations

from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition, _report_drill
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill import outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report import EVIL, JSON, Page

BUDGETS = {"noticed": 6, "allocatable": 20, "alert": 10, "recovery": 60}


def row(**over: Any) -> dict[str, Any]:
    return {
        "node": "worker-1",
        "fault": "error",
        "seen_by": "plugin",
        "devices": ["4"],
        "reasons": ["DriverReportsFault"],
        "alert": "AcceleratorDeviceUnhealthy",
        "alert_for": "2m",
        "times": {"noticed": 0.04, "allocatable": 7.31, "alert": 0.2, "recovery": 9.9},
        "budgets": BUDGETS,
        "ok": True,
        "problems": [],
        **over,
    }


def late() -> dict[str, Any]:
    budgets = {key: value for key, value in BUDGETS.items() if key != "allocatable"}
    times = {"noticed": 31.0, "alert": None, "recovery": 3.0}
    problems = ["noticed: 31.0 s, expected 6 s or less", "alert: not seen"]
    return row(fault="corrupt", seen_by="consumer", times=times, budgets=budgets, ok=False, problems=problems)


def test_the_table_has_times_and_budgets() -> None:
    lines = outcome.table([row(), late()]).splitlines()
    assert lines[0].split() == ["NODE", "FAULT", "NOTICED", "ALLOCATABLE", "ALERT", "RECOVERY", "SEEN", "AS", "VERDICT"]
    assert " ".join(lines[1].split()) == "worker-1 error 0.0 / 6 7.3 / 20 0.2 / 10 9.9 / 60 4: DriverReportsFault ok"
    assert " ".join(lines[2].split()) == (
        "worker-1 corrupt 31.0 / 6 - never / 10 3.0 / 60 consumer ended "
        "noticed: 31.0 s, expected 6 s or less; alert: not seen"
    )
    assert lines[3].startswith("alert: the expression of AcceleratorDeviceUnhealthy is true; it fires when")
    assert outcome.table([]).startswith("NODE")


def test_the_page_says_the_same() -> None:
    found = Page(_report_drill.document([row(), late()], "Drill of ptemplate", "2026-11-27 12:00 UTC"))
    text = " ".join(found.text.split())
    assert "Drill of ptemplate: not within budget" in text
    assert "1 of 2 drills within budget" in text
    assert "0.04 s of 6 s" in text
    assert "not seen , budget 10 s" in text
    assert "does not apply" in text
    tags = {tag for tag, _attributes in found.tags}
    assert tags & {"script", "link", "img", "iframe", "a"} == set()


def test_no_text_becomes_markup() -> None:
    evil = row(node=EVIL, fault=EVIL, devices=[EVIL], reasons=[EVIL], alert=EVIL, ok=False, problems=[EVIL])
    text = _report_drill.document([evil], EVIL, EVIL)
    assert "<script" not in text
    Page(text)


def test_no_drill_is_not_a_good_one() -> None:
    assert "not within budget" in _report_drill.document([], "ptemplate", "now")


KEYS = st.sampled_from(list(row()))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.dictionaries(KEYS, JSON), max_size=3))
def test_no_odd_field_breaks_it(rows: Any) -> None:
    Page(_report_drill.document(rows, "title", "now"))
    outcome.table(rows)


def test_faults_that_can_be_made() -> None:
    given = {"health": {"drill": {"faults": {"a": {"seen_by": "plugin"}, "b": {"seen_by": "consumer"}}}}}
    assert outcome.faults({**given, "consumer": {}}) == ["a"]
    assert outcome.faults({**given, "consumer": {"devices": 1}}) == ["a", "b"]
    assert (
        _definition.fill({"name": "x", "resource": "a.b/x", "hardware": {}, "driver": {"module": "x"}})["health"][
            "drill"
        ]["budgets"]
        == BUDGETS
    )
