# SPDX-License-Identifier: Apache-2.0
"""Filters: which faults can be drilled, and what came of drills, as text and as one file for a browser."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._deferred import deferred


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {
            "drill_faults": deferred("_drill.outcome", "faults"),
            "drill_report": deferred("_report_drill", "document"),
            "drill_table": deferred("_drill.outcome", "table"),
        }
