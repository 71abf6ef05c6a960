# SPDX-License-Identifier: Apache-2.0
"""Overrides merged in, defaults filled, paths made absolute. Pure. PRIVATE to this collection."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.schema import (
    SCHEMA,
    Items,
    Names,
    Node,
    Section,
    Value,
)

Json = t.Dict[str, t.Any]

# The fields of `images` that hold one reference.
IMAGES = [name for name, node in SCHEMA.fields["images"].fields.items() if getattr(node, "kind", "") == "image"]


def merge(under: t.Any, over: t.Any) -> t.Any:
    """Mappings are merged, anything else is replaced; null takes a value away."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: merge(under.get(key), value) for key, value in over.items()}}


def fill(definition: Json, folder: str = "") -> Json:
    """A definition that was checked, complete. Relative paths start from `folder`."""
    made = _filled(SCHEMA, definition, folder)
    name = made["name"]
    made["namespace"] = made["namespace"] or name
    made["devices"]["glob"] = made["devices"]["glob"] or f"/dev/{name}-*"
    api = made["operator"]["api"]
    api["group"] = api["group"] or made["resource"].partition("/")[0]
    api["kind"] = api["kind"] or "".join(part.capitalize() for part in re.split("-+", name))
    api["plural"] = api["plural"] or f"{api['kind'].lower()}s"
    build, images = made["driver"]["build"], made["images"]
    build["strategy"] = build["strategy"] or ("prebuilt" if images["driver"] else "podman")
    for field in IMAGES:
        images[field] = images[field] and names.mirrored(images[field], images["mirrors"])
    images["toolkits"] = [names.mirrored(image, images["mirrors"]) for image in images["toolkits"]]
    pci = made["hardware"]["pci"]
    if pci:
        made["hardware"]["pci"] = {key: value and value.lower() for key, value in pci.items()}  # as NFD writes them
    return made


def located(path: str, folder: str) -> str:
    """Absolute: a relative path starts from `folder`, ~ is the home of who runs the play."""
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def _filled(node: Node, given: t.Any, folder: str) -> t.Any:
    if isinstance(node, Section):
        if given is None and node.optional:
            return None
        given = given or {}
        return {name: _filled(field, given.get(name), folder) for name, field in node.fields.items()}
    if isinstance(node, Names):
        if given is None and node.optional:
            return None
        return {name: _filled(node.of, value, folder) for name, value in (given or {}).items()}
    if isinstance(node, Items):
        given = node.default if given is None else given
        return None if given is None else [_filled(node.of, value, folder) for value in given]
    return _value(node, given, folder)


def _value(node: Value, given: t.Any, folder: str) -> t.Any:
    if given is None:
        return node.default
    return located(given, folder) if node.kind == "path" and folder else given
