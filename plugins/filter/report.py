# SPDX-License-Identifier: Apache-2.0
"""Filter: the health of an accelerator as an HTML file."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _report


def health_report(health: t.Dict[str, t.Any], explained: t.Dict[str, t.Any], title: str, when: str) -> str:
    return _report.document(health, explained, title, when)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"health_report": health_report}
