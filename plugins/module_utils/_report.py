# SPDX-License-Identifier: Apache-2.0
"""The health of an accelerator as one HTML file: tables and small pictures, no script, nothing from a network. Pure.

PRIVATE. What it is made of: _html.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._html import escape, page, shade, svg, table

Json = t.Dict[str, t.Any]


def document(health: Json, explained: Json, title: str, when: str) -> str:
    """health: accelerator_health; explained: what accelerator_explain returns, or empty."""
    nodes = safe.mappings(health, "nodes")
    ok = bool(health.get("ok"))
    good = sum(shade(one.get("verdict")) == "good" for one in nodes)
    word = "well" if ok else "not well"
    said = f"{health.get('resource')}, {good} of {len(nodes)} nodes well, {when}"
    return page(title, word, ok, said, [_shares(nodes), _devices(nodes), _chain(explained), _left(health)])


def _shares(nodes: t.Sequence[Json]) -> str:
    """One bar: how many nodes have which verdict."""
    counts: t.Dict[str, int] = {}
    for one in nodes:
        verdict = safe.text(one, "verdict")
        counts[verdict] = counts.get(verdict, 0) + 1
    if not counts:
        return "<p>No node.</p>"
    bars, words, at = [], [], 0.0
    for verdict, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        width = 600 * number / len(nodes)
        bars.append(f'<rect class="{shade(verdict)}" x="{at:.1f}" y="0" width="{max(width - 1, 1):.1f}" height="16"/>')
        words.append(f"{number} {verdict}")
        at += width
    said = escape(", ".join(words))
    return f"{svg(600, 16, bars, f'<title>{said}</title>')}<p>{said}</p>"


def _devices(nodes: t.Sequence[Json]) -> str:
    rows = []
    for one in sorted(nodes, key=lambda node: (shade(node.get("verdict")) == "good", safe.text(node, "node"))):
        verdict, expected = one.get("verdict"), one.get("expected")
        numbers = [
            "1+" if expected is None else expected,
            *(one.get(k) for k in ("advertised", "allocatable", "healthy")),
        ]
        rows.append(
            f"<tr><td>{escape(one.get('node'))}</td>"
            + "".join(f'<td class="number">{"-" if n is None else escape(n)}</td>' for n in numbers)
            + f'<td>{_gauge(one)}</td><td class="{shade(verdict)}">{escape(verdict)}</td>'
            + f"<td>{escape(one.get('reason'))}</td></tr>"
        )
    heads = [("Node", ""), *((name, "number") for name in ("Expected", "Advertised", "Allocatable", "Healthy"))]
    heads += [("Devices", ""), ("Verdict", ""), ("Reason", "")]
    return f"<h2>Devices</h2>{table(heads, rows)}"


def _gauge(one: Json) -> str:
    """Allocatable devices of those that there should be, and of those that there are beside them."""
    expected, seen, usable = (safe.whole(one, key) or 0 for key in ("expected", "advertised", "allocatable"))
    whole = max(expected, seen, usable, 1)
    parts = [("good", usable), ("bad", max(seen - usable, 0)), ("none", max(whole - max(seen, usable), 0))]
    bars, at = [], 0.0
    for kind, number in parts:
        width = 100 * number / whole
        if width:
            bars.append(f'<rect class="{kind}" x="{at:.1f}" y="0" width="{width:.1f}" height="12"/>')
        at += width
    said = f"{usable} usable, {max(seen - usable, 0)} unhealthy, {max(whole - max(seen, usable), 0)} missing"
    return svg(100, 12, bars, f"<title>{said}</title>")


def _chain(explained: Json) -> str:
    """Each node's links as squares, and what to do at the one that is named."""
    entries = [(one.get("node"), one) for one in safe.mappings(explained, "nodes")]
    entries += [(f"Pod {one.get('pod')}", one) for one in safe.mappings(explained, "pods")]
    if not entries:
        return ""
    rows = []
    for name, one in sorted(entries, key=lambda entry: entry[1].get("state") in ("ok", "absent")):
        state = one.get("state")
        advice = f"{escape(one.get('fix'))}<br><code>{escape(one.get('next'))}</code>" if one.get("fix") else ""
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{_squares(safe.mapping(one, 'links'))}</td>"
            f'<td class="{shade(state)}">{escape(state)}</td><td>{escape(one.get("link"))}</td>'
            f"<td>{escape(safe.text(one, 'evidence', 'value'))}<br>{escape(safe.text(one, 'evidence', 'object'))}</td>"
            f"<td>{escape(one.get('expected'))}</td><td>{advice}</td></tr>"
        )
    heads = [(name, "") for name in ("Node", "Chain", "State", "Link", "Seen", "Expected", "What to do")]
    return f"<h2>From the hardware to the pod</h2>{table(heads, rows)}"


def _squares(links: Json) -> str:
    if not links:
        return ""
    squares = [
        f'<rect class="{shade(state)}" x="{index * 9}" y="0" width="8" height="12">'
        f"<title>{escape(name)}: {escape(state)}</title></rect>"
        for index, (name, state) in enumerate(links.items())
    ]
    return svg(9 * len(squares), 12, squares)


def _left(health: Json) -> str:
    made = ""
    stale, rejected = safe.mappings(health, "stale"), safe.mappings(health, "rejected")
    if stale:
        rows = [f"<tr><td>{escape(o.get('node'))}</td><td>{escape(o.get('capacity'))}</td></tr>" for o in stale]
        made += f"<h2>Stale resources</h2>{table([('Node', ''), ('Capacity', '')], rows)}"
    if rejected:
        keys = ("namespace", "name", "node", "owner", "message")
        rows = ["<tr>" + "".join(f"<td>{escape(one.get(key))}</td>" for key in keys) + "</tr>" for one in rejected]
        made += f"<h2>Rejected pods</h2>{table([(key.capitalize(), '') for key in keys], rows)}"
    return made


__all__ = ("document",)
