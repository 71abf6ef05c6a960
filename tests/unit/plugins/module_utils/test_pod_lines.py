# SPDX-License-Identifier: Apache-2.0
"""The last lines of a pod that uses the devices, or why there are none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._cluster import Api
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._pod_lines import last_lines
from fake_api import FakeApi, Status, listing, thing

PODS = "/api/v1/namespaces/acme/pods"
SELECTOR = "app=consumer"


def pod(name: str, phase: str = "Running", **metadata: Any) -> Any:
    return thing(name, "acme", metadata=metadata, status={"phase": phase})


def test_of_the_first_running_pod(fake: FakeApi, api: Api) -> None:
    going = pod("a", deletionTimestamp="2026-11-27T12:00:00Z")
    fake.on(PODS, listing(going, pod("b", "Pending"), pod("d"), pod("c")))
    fake.on(f"{PODS}/c/log", b"wrote 9 B\n\nread back 9 B, \xff verified\n")
    said = last_lines(api, "acme", SELECTOR, 5)
    assert said == {
        "pod": "c",
        "lines": ["wrote 9 B", "read back 9 B, \N{REPLACEMENT CHARACTER} verified"],
        "reason": "",
    }
    assert [query for _path, query, _headers in fake.asked] == [
        {"labelSelector": SELECTOR, "limit": "500"},
        {"tailLines": "5"},
    ]


@pytest.mark.parametrize(
    ("pods", "log", "name", "reason"),
    [
        (listing(), b"", None, "no pod with app=consumer runs in namespace acme"),
        (listing(pod("a", "Failed")), b"", None, "no pod with app=consumer runs in namespace acme"),
        (listing(pod("a")), b"", "a", "a has written nothing yet"),
        (listing(pod("a")), Status(403, "may not"), "a", "may not"),
        (Status(403, "may not"), b"", None, "may not"),
    ],
    ids=["no pod", "none that runs", "no line", "no right to lines", "no right to pods"],
)
def test_without_lines_there_is_a_reason(
    fake: FakeApi, api: Api, pods: Any, log: Any, name: str | None, reason: str
) -> None:
    fake.on(PODS, pods)
    fake.on(f"{PODS}/a/log", log)
    said = last_lines(api, "acme", SELECTOR, 5)
    assert (said["pod"], said["lines"]) == (name, [])
    assert reason in said["reason"]
