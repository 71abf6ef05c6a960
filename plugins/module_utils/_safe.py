# SPDX-License-Identifier: Apache-2.0
"""Looks into JSON that others wrote: what is missing, or of another type than it should be, is empty. Pure. PRIVATE.

An object of a custom kind, or one that an old server sends, may lack any field; a report on what is broken must not
break on it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names

Json = t.Dict[str, t.Any]


def at(value: t.Any, *keys: str) -> t.Any:
    """What stands at a path of keys, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def mapping(value: t.Any, *keys: str) -> Json:
    found = at(value, *keys)
    return found if isinstance(found, dict) else {}


def mappings(value: t.Any, *keys: str) -> t.List[Json]:
    """The mappings in a list."""
    found = at(value, *keys)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def text(value: t.Any, *keys: str) -> str:
    found = at(value, *keys)
    return str(found) if isinstance(found, (str, int, float)) else ""


def texts(value: t.Any, *keys: str) -> t.Dict[str, str]:
    """A mapping of names to texts, such as labels."""
    return {str(key): one for key, one in mapping(value, *keys).items() if isinstance(one, str)}


def words(value: t.Any, *keys: str) -> t.List[str]:
    """The texts in a list."""
    found = at(value, *keys)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def whole(value: t.Any, *keys: str) -> t.Optional[int]:
    """A count as Kubernetes writes it; None when it is none."""
    try:
        return _names.count(at(value, *keys))
    except ValueError:
        return None


__all__ = ("at", "mapping", "mappings", "text", "texts", "whole", "words")
