# SPDX-License-Identifier: Apache-2.0
"""The report is one file that loads nothing, says what was found, and lets no text of a cluster become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _html, _report
from hypothesis import given, settings
from hypothesis import strategies as st

EVIL = "<script>alert('x')</script>\"'&"


class Page(HTMLParser):
    """What a browser makes of it; a tag that is not closed, or not open, is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def node(**over: Any) -> dict[str, Any]:
    made = {"node": "worker-1", "expected": 5, "advertised": 5, "allocatable": 5, "healthy": 5, "verdict": "ok"}
    return {**made, "reason": "", "devices": [], **over}


def health(*nodes: Any, **over: Any) -> dict[str, Any]:
    return {"resource": "example.com/ptemplate", "ok": False, "nodes": list(nodes), "stale": [], "rejected": [], **over}


def row(**over: Any) -> dict[str, Any]:
    evidence = {"object": "Node/worker-2", "field": "spec.unschedulable", "value": "true"}
    made = {"node": "worker-2", "state": "broken", "link": "taints", "evidence": evidence, "expected": "a node"}
    return {
        **made,
        "fix": "uncordon it",
        "next": "kubectl uncordon worker-2",
        "links": {"node": "ok", "taints": "broken"},
        **over,
    }


def page(health: Any, explained: Any) -> Page:
    return Page(_report.document(health, explained, "ptemplate", "2026-11-27 12:00 UTC"))


def test_it_says_what_was_found() -> None:
    bad = node(node="worker-2", allocatable=4, healthy=4, verdict="degraded", reason="1 of 5 unhealthy, 4: NoDriver")
    stale = [{"node": "old", "capacity": "0"}]
    pods = [{"namespace": "team", "name": "mine", "node": "worker-2", "owner": None, "message": "no device"}]
    found = page(
        health(node(), bad, stale=stale, rejected=pods), {"nodes": [row()], "pods": [{**row(), "pod": "team/x"}]}
    )
    for word in (
        "ptemplate: ",
        "not well",
        "1 of 2 nodes well",
        "1 degraded, 1 ok",
        "1 of 5 unhealthy, 4: NoDriver",
        "4 usable, 1 unhealthy, 0 missing",
        "kubectl uncordon worker-2",
        "taints: broken",
        "Pod team/x",
        "Stale resources",
        "Rejected pods",
    ):
        assert word in found.text, word
    assert found.text.index("worker-2") < found.text.index("worker-1"), "what is broken comes first"


def test_it_loads_and_runs_nothing() -> None:
    found = page(health(node(), node(verdict="missing")), {"nodes": [row()]})
    assert {tag for tag, _attributes in found.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "a",
        "image",
    } == set()
    names = {name for _tag, attributes in found.tags for name in attributes}
    assert [name for name in names if name in {"src", "href", "xlink:href", "style"} or name.startswith("on")] == []
    assert re.search(r"url\(|@import|https?://", _html.STYLE) is None
    policy = next(attributes for tag, attributes in found.tags if "http-equiv" in attributes)
    assert policy["content"].startswith("default-src 'none'")


def test_no_text_becomes_markup() -> None:
    whole = node(node=EVIL, verdict=EVIL, reason=EVIL, expected=EVIL)
    left = {"stale": [{"node": EVIL}], "rejected": [{"name": EVIL, "message": EVIL}], "resource": EVIL}
    evil = row(node=EVIL, state=EVIL, link=EVIL, fix=EVIL, next=EVIL, links={EVIL: EVIL})
    evil["evidence"] = {"object": EVIL, "value": EVIL}
    text = _report.document(health(whole, **left), {"nodes": [evil]}, EVIL, EVIL)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 15
    Page(text)


def test_a_cluster_without_a_node() -> None:
    assert "No node." in page(health(), {}).text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
KEYS = st.sampled_from(
    ["node", "expected", "advertised", "allocatable", "verdict", "reason", "devices", "links", "state"]
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.dictionaries(KEYS, JSON), max_size=3), JSON)
def test_no_odd_field_breaks_it(entries: Any, odd: Any) -> None:
    page(health(*entries, stale=odd, rejected=odd), {"nodes": entries, "pods": odd})
