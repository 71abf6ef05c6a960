# SPDX-License-Identifier: Apache-2.0
"""What came of drills as one HTML file, with a line of time for each. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _safe as safe
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill.outcome import (
    MILESTONES,
    alerts_told,
    seen_as,
    verdict,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._html import escape, page, svg, table

Json = t.Dict[str, t.Any]

HEADS = {
    "noticed": "Unhealthy at the kubelet",
    "allocatable": "Allocatable falls",
    "alert": "Alert's expression true",
    "recovery": "Recovery",
}
WIDTH, HEIGHT = 160, 12


def document(rows: t.Sequence[Json], title: str, when: str) -> str:
    """rows: what accelerator_drill returned, of each drill."""
    good = sum(bool(one.get("ok")) for one in rows)
    ok = bool(rows) and good == len(rows)
    word = "within budget" if ok else "not within budget"
    told = "".join(f"<p>{escape(text)}.</p>" for text in alerts_told(rows))
    return page(title, word, ok, f"{good} of {len(rows)} drills within budget, {when}", [_drills(rows), told])


def _drills(rows: t.Sequence[Json]) -> str:
    made = []
    for one in rows:
        cells = "".join(f"<td>{_milestone(one, name)}</td>" for name in MILESTONES)
        kind = "good" if one.get("ok") else "bad"
        made.append(
            f"<tr><td>{escape(one.get('node'))}</td><td>{escape(one.get('fault'))}</td>{cells}"
            f'<td>{escape(seen_as(one))}</td><td class="{kind}">{escape(verdict(one))}</td></tr>'
        )
    heads = ["Node", "Fault", *(HEADS[name] for name in MILESTONES), "Seen as", "Verdict"]
    return f"<h2>Drills</h2>{table([(name, '') for name in heads], made)}"


def _milestone(one: Json, name: str) -> str:
    """The time, as a bar of its budget, which is the grey behind it."""
    budget, seconds = _number(one, "budgets", name), _number(one, "times", name)
    if budget is None:
        return '<span class="none">does not apply</span>'
    if seconds is None:
        return f'<span class="bad">not seen</span>, budget {budget:g} s'
    whole = max(budget, seconds) or 1.0
    kind = "good" if seconds <= budget else "bad"
    bars = [
        f'<rect class="none" x="0" y="0" width="{WIDTH * budget / whole:.1f}" height="{HEIGHT}"/>',
        f'<rect class="{kind}" x="0" y="2" width="{max(1.0, WIDTH * seconds / whole):.1f}" height="{HEIGHT - 4}"/>',
    ]
    said = f"{seconds:.2f} s of {budget:g} s"
    picture = svg(WIDTH, HEIGHT, bars, f"<title>{said}</title>")
    return f'<span class="{kind}">{seconds:.2f} s</span> of {budget:g} s{picture}'


def _number(one: Json, where: str, name: str) -> t.Optional[float]:
    found = safe.mapping(one, where).get(name)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


__all__ = ("document",)
