# SPDX-License-Identifier: Apache-2.0
"""Filters about the operators NFD and KMM, as OLM brings them."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests

Json = t.Dict[str, t.Any]


def awaited(definition: Json, operator: str, facts: Json) -> Json:
    return _manifests.awaited(definition, facts, operator)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"awaited": awaited, "component_label": _manifests.component_label}
