# SPDX-License-Identifier: Apache-2.0
"""Events on pods whose device died: what a report tells, whatever it is, and that the API server takes the Event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from accelerator_operator.events import LONGEST_NOTE, Loss, event, losses
from conftest import make_definition
from hypothesis import given
from hypothesis import strategies as st

DEFINITION = make_definition("accel")
NOW = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)
LOSS = Loss("team", "training", "main", "worker-1", "3", "2026-11-28T01:02:00.000+00:00", "NoDriver: gone")

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Unhealthy", "Healthy"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["devices", "id", "health", "pods", "namespace", "name", "container"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(json)
def test_no_report_breaks_it(report: Any) -> None:
    for loss in losses("node", report):
        assert loss.namespace
        assert loss.pod
        assert loss.device


def test_an_event_keeps_to_the_bounds_of_the_api() -> None:
    long = Loss("team", "p" * 253, "main", "worker-1", "3", "t", "x" * 5000)
    made = event(long, DEFINITION, "uid", NOW)
    assert len(made["metadata"]["name"]) == 253
    assert len(made["note"]) == LONGEST_NOTE
    assert made["eventTime"] == "2026-11-28T01:02:03.000000Z"


def test_one_death_has_one_name() -> None:
    names = {event(LOSS, DEFINITION, uid, NOW)["metadata"]["name"] for uid in ("a", "b")}
    assert names == {f"training.{LOSS.key}"}
    other = Loss("team", "training", "main", "worker-1", "3", "later", LOSS.why)
    assert other.key != LOSS.key


@pytest.mark.parametrize("health", ["Healthy", "Suspect", None])
def test_a_device_that_lives_is_nobodys_loss(health: str | None) -> None:
    held = {"id": "3", "health": health, "pods": [{"namespace": "team", "name": "training", "container": "c"}]}
    assert losses("node", {"devices": [held]}) == []
