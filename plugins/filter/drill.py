# SPDX-License-Identifier: Apache-2.0
"""Filters: which faults can be drilled, and what came of drills, as text and as one file for a browser."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _report_drill
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._drill import outcome

Json = t.Dict[str, t.Any]


def drill_faults(definition: Json) -> t.List[str]:
    return outcome.faults(definition)


def drill_report(rows: t.Sequence[Json], title: str, when: str) -> str:
    return _report_drill.document(rows, title, when)


def drill_table(rows: t.Sequence[Json]) -> str:
    return outcome.table(rows)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"drill_faults": drill_faults, "drill_report": drill_report, "drill_table": drill_table}
