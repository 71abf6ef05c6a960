# SPDX-License-Identifier: Apache-2.0
"""Filter: the health of an accelerator as an HTML file."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._deferred import deferred


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"health_report": deferred("_report", "document")}
