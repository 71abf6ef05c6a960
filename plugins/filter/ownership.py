# SPDX-License-Identifier: Apache-2.0
"""Filters that tell whose an object is."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._deferred import deferred


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {
            name: deferred("_ownership", name)
            for name in (
                "given_back",
                "neighbour_queries",
                "surplus",
                "user_queries",
                "users",
                "widest",
            )
        }
