# SPDX-License-Identifier: Apache-2.0
"""What the lab's definitions accept, the genuine ones accept too: each field, its type, and what they require."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stand_ins.controller import definitions, install_definitions
from stand_ins.kmm import MODULES
from stand_ins.kube import ApiError, Kube, Object

OURS = [crd for name in ("olm", "nfd", "kmm", "monitoring") for crd in definitions(name)]


def fields(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """Every path in a schema, with what it says there."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from fields(part, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], f"{path}{{}}")


def kind(schema: Object) -> str:
    return "integer or string" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "")


def objections(ours: Object, genuine: Object) -> list[str]:
    """Why an object that `ours` accepts might not be accepted by `genuine`."""
    known = dict(fields(genuine))
    found: list[str] = []
    for path, field in fields(ours):
        other = known.get(path)
        if other is None or kind(field) != kind(other):
            found.append(f"{path}: {kind(field)} here, {kind(other) if other else 'not'} there")
            continue
        if missing := set(other.get("required", [])) - set(field.get("required", [])):
            found.append(f"{path}: {missing} required there only")
        if "enum" in other and not set(field.get("enum", [])) <= set(other["enum"]):
            found.append(f"{path}: {field.get('enum')} here, {other['enum']} there")
        if field.get("x-kubernetes-preserve-unknown-fields"):
            found.append(f"{path}: would take any field")
    return found


@pytest.mark.parametrize("ours", OURS, ids=lambda crd: crd["metadata"]["name"])
def test_each_field_is_genuine(ours: Object, genuine: dict[str, Object]) -> None:
    theirs = genuine[ours["metadata"]["name"]]
    versions = {v["name"]: v for v in theirs["spec"]["versions"]}
    names = ("kind", "plural", "singular", "listKind")
    assert [ours["spec"]["names"][n] for n in names] == [theirs["spec"]["names"][n] for n in names]
    assert ours["spec"]["scope"] == theirs["spec"]["scope"]
    for version in ours["spec"]["versions"]:
        other = versions[version["name"]]
        assert set(version.get("subresources", {})) <= set(other.get("subresources", {}))
        assert objections(version["schema"]["openAPIV3Schema"], other["schema"]["openAPIV3Schema"]) == []


@pytest.mark.parametrize(
    "ours",
    [
        {"properties": {"invented": {"type": "string"}}},
        {"properties": {"count": {"type": "string"}}},
        {"properties": {"count": {"type": "integer"}}, "required": []},
    ],
    ids=["unknown", "another type", "not required"],
)
def test_the_comparison_can_fail(ours: Object) -> None:
    genuine = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    assert objections({"type": "object", "required": ["count"]} | ours, genuine)


def test_an_unknown_field_is_refused(kube: Kube, namespace: str) -> None:
    install_definitions(kube, "kmm", "test")
    module = MODULES.new("m", namespace, spec={"selector": {}, "invented": 1})
    with pytest.raises(ApiError, match=r"\.spec\.invented: field not declared in schema"):
        kube.apply(MODULES, module, "test", query="&dryRun=All&fieldValidation=Strict")
