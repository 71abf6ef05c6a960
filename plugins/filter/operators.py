# SPDX-License-Identifier: Apache-2.0
"""Filters about the operators NFD and KMM, as OLM brings them."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._deferred import deferred

Json = t.Dict[str, t.Any]

_awaited = deferred("_manifests", "awaited")


def awaited(definition: Json, operator: str, facts: Json) -> Json:
    return _awaited(definition, facts, operator)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"awaited": awaited, "component_label": deferred("_manifests", "component_label")}
