# SPDX-License-Identifier: Apache-2.0
"""Filters that tell whose an object is."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _ownership


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {
            "given_back": _ownership.given_back,
            "kept_queries": _ownership.kept_queries,
            "neighbour_queries": _ownership.neighbour_queries,
            "surplus": _ownership.surplus,
            "user_queries": _ownership.user_queries,
            "users": _ownership.users,
            "widest": _ownership.widest,
        }
