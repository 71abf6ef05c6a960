# SPDX-License-Identifier: Apache-2.0
"""Every mistake in a definition, each with its path, what is accepted and what was seen. PRIVATE to this collection.

Reads no file; only asks whether those that are named are there.
"""

from __future__ import annotations

import difflib
import os
import re
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition import rules
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.fill import located
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.schema import (
    SCHEMA,
    Items,
    Names,
    Node,
    Section,
    Value,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._syntax import SYNTAX, fits

Mistakes = t.List[str]
ROOT = "accelerator"
PASSWORD = re.compile(r"(?<=//)[^/@\s]+@")  # of a git URL, which is refused for it
TYPES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a mapping"}


def check(definition: t.Any, folder: str = "") -> Mistakes:
    """Form first; the rules between values are tried only on what has the right form."""
    found: Mistakes = []
    _check(SCHEMA, definition, ROOT, folder, found)
    return found or [f"{ROOT}.{mistake}" for mistake in rules.check(definition)]


def said(path: str, expected: str, seen: t.Any) -> str:
    return f"{path}: expected {expected}; seen {show(seen)}"


def show(seen: t.Any) -> str:
    """Short, in one line."""
    if seen is None:
        return "nothing"
    if isinstance(seen, (dict, list)):
        return TYPES[dict if isinstance(seen, dict) else list]
    text = repr(PASSWORD.sub("***@", str(seen))) if isinstance(seen, str) else str(seen)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _told(name: t.Any) -> str:
    """A name that the user chose, in a mistake's path, where it must not begin another line."""
    text = _in_line(str(name))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _in_line(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _check(node: Node, given: t.Any, path: str, folder: str, found: Mistakes) -> None:
    if isinstance(node, Section):
        _check_section(node, given, path, folder, found)
    elif isinstance(node, Names):
        if not isinstance(given, dict):
            found.append(said(path, "a mapping", given))
            return
        for name, value in given.items():
            where = f"{path}.{_told(name)}"
            if not isinstance(name, str) or not fits(node.key, name):
                found.append(said(where, f"as its name {SYNTAX[node.key].expected}", name))
            elif value is None:
                found.append(said(where, "a value", value))
            else:
                _check(node.of, value, where, folder, found)
    elif isinstance(node, Items):
        if not isinstance(given, list):
            found.append(said(path, "a list", given))
            return
        for index, value in enumerate(given):
            _check(node.of, value, f"{path}[{index}]", folder, found)
    else:
        _check_value(node, given, path, folder, found)


def _check_section(node: Section, given: t.Any, path: str, folder: str, found: Mistakes) -> None:
    if not isinstance(given, dict):
        found.append(said(path, f"a mapping with {', '.join(node.fields)}", given))
        return
    for name in given:
        if name not in node.fields:
            near = difflib.get_close_matches(str(name), node.fields, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(node.fields)}"
            found.append(f"{path}.{_told(name)}: unknown; {hint}")
    for name, field in node.fields.items():
        value, where = given.get(name), f"{path}.{name}"
        if value is not None:
            _check(field, value, where, folder, found)
        elif isinstance(field, Value) and field.required:
            found.append(said(where, _expected(field), value))
        elif isinstance(field, Section) and not field.optional and _demands(field):
            _check(field, {}, where, folder, found)


def _demands(section: Section) -> bool:
    """Whether something in it must be given."""
    return any(
        (isinstance(field, Value) and field.required)
        or (isinstance(field, Section) and not field.optional and _demands(field))
        for field in section.fields.values()
    )


def _check_value(node: Value, given: t.Any, path: str, folder: str, found: Mistakes) -> None:
    if not _fits(node, given):
        hint = "; put it in quotes" if isinstance(given, (int, float)) and node.kind in SYNTAX else ""
        found.append(said(path, _expected(node), given) + hint)
    elif node.on_host:
        place = located(given, folder)
        if not (os.path.isdir if node.on_host == "folder" else os.path.isfile)(place):
            start = "" if os.path.isabs(os.path.expanduser(given)) else " (relative to the definition's folder)"
            found.append(f"{path}: expected a {node.on_host}; there is none at {_in_line(place)}{start}")


def _fits(node: Value, given: t.Any) -> bool:
    if node.kind == "boolean":
        return isinstance(given, bool)
    if node.kind == "integer":
        least, greatest = node.minimum, node.maximum
        right = isinstance(given, int) and not isinstance(given, bool)
        return right and (least is None or given >= least) and (greatest is None or given <= greatest)
    if node.kind == "scalar":
        return isinstance(given, (bool, int, float)) or (isinstance(given, str) and fits("parameter_text", given))
    if not isinstance(given, str):
        return False
    if node.kind == "text":
        return "\0" not in given and (not node.choices or given in node.choices)
    return fits(node.kind, given)


def _expected(node: Value) -> str:
    if node.choices:
        return f"one of {', '.join(node.choices)}"
    if node.kind == "boolean":
        return "true or false"
    if node.kind == "integer":
        least = "" if node.minimum is None else f" from {node.minimum}"
        return f"a whole number{least}{'' if node.maximum is None else f' to {node.maximum}'}"
    if node.kind == "scalar":
        return f"a number, a boolean, or {SYNTAX['parameter_text'].expected}"
    return "text" if node.kind == "text" else SYNTAX[node.kind].expected
