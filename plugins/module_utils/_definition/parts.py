# SPDX-License-Identifier: Apache-2.0
"""What a definition's schema is made of. PRIVATE to this collection."""

from __future__ import annotations

import typing as t


class Value(t.NamedTuple):
    """One value. kind: a name in _syntax.SYNTAX, or boolean, integer, scalar, text."""

    kind: str
    text: str
    default: t.Any = None
    default_text: str = ""  # for a default that follows from other values
    required: bool = False
    minimum: t.Optional[int] = None
    maximum: t.Optional[int] = None
    choices: t.Tuple[str, ...] = ()
    on_host: str = ""  # for a path: what must be there, on the host that builds: "folder" or "file"


class Section(t.NamedTuple):
    """A mapping with given names. optional: null when left out, not filled."""

    fields: t.Dict[str, t.Any]
    text: str
    optional: bool = False


class Items(t.NamedTuple):
    """A list."""

    of: t.Union[Value, Section]
    text: str
    default: t.Optional[t.Tuple[t.Any, ...]] = ()


class Names(t.NamedTuple):
    """A mapping with names that the user chooses. of: what each is. optional: null when left out, not empty."""

    key: str
    of: t.Union[Value, Section]
    text: str
    optional: bool = False


Node = t.Union[Value, Items, Names, Section]
