# SPDX-License-Identifier: Apache-2.0
"""The chain's rows as text for people: a table, what is broken first, and below it what to do. Pure. PRIVATE."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _table
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._finding import (
    ABSENT,
    BROKEN,
    OK,
    UNKNOWN,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._explain._records import Json

ORDER = (BROKEN, UNKNOWN, OK, ABSENT)
ADVISED = 20  # nodes; more of them have the same few causes
COLUMNS = ("NODE", "STATE", "LINK", "SEEN", "EXPECTED")


def table(rows: t.Sequence[Json], pods: t.Sequence[Json] = ()) -> str:
    """One row a node and, of pods that do not start, one row a pod."""
    ordered = sorted(rows, key=lambda row: (ORDER.index(row["state"]), row["node"]))
    cells = [(row["node"], *_cells(row)) for row in ordered] + [(f"Pod/{one['pod']}", *_cells(one)) for one in pods]
    lines = [_table.aligned([COLUMNS, *cells])] if cells else ["no node is a candidate for this hardware"]
    advised = [(one.get("node") or one.get("pod") or "", one) for one in [*ordered, *pods] if one["fix"]]
    wrong = [(name, one) for name, one in advised if one["state"] in (BROKEN, UNKNOWN)]
    for name, one in wrong[:ADVISED]:
        lines += ["", f"{name}, {one['link']}: {one['fix']}", f"  {one['evidence']['object']}", f"  {one['next']}"]
    if len(wrong) > ADVISED:
        lines += ["", f"and {len(wrong) - ADVISED} more"]
    return "\n".join(lines)


def _cells(row: Json) -> t.Tuple[str, str, str, str]:
    seen = " ".join(row["evidence"]["value"].split()) if row["evidence"] else ""
    return row["state"], row["link"] or "", seen, " ".join(row["expected"].split())
