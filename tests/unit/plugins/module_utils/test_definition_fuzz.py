# SPDX-License-Identifier: Apache-2.0
"""Anything at all in the place of anything in a definition: no crash, and no mistake that is let through."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition, _manifests
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.schema import (
    SCHEMA,
    Items,
    Names,
    Section,
    Value,
)
from definitions import IMAGES, example, facts, node, shortest, widget
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FUZZ = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
# What YAML can hold: also names that are no text.
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.text(max_size=8) | st.integers() | st.none() | st.booleans()
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
# What is nearly right is let through more easily than noise.
NEARLY = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-",
        "a\nb",
        "a" * 300,
        "a/b",
        "/dev/../x-*",
        "/",
        "..",
        "open",
        "kmm",
        "1.0",
        "ok,",
        "é",
        "${X}",
        "\x80",
    ]
)
CLUSTER = facts(nodes=[node("one")], namespaces={"widget": {}})


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in it but the root."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in ((*path, key), *places(one, (*path, key)))]


def seen(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with something else in that place."""
    made = copy.deepcopy(value)
    seen(made, path[:-1])[path[-1]] = new
    return made


def judged(given: Any) -> list[str]:
    """The mistakes, each told in a line. What has none can be used: filled, filled again, rendered."""
    mistakes = _definition.check(given, "/")
    assert all(mistake.startswith("accelerator") and mistake.isprintable() for mistake in mistakes), mistakes
    if mistakes:
        with pytest.raises(_definition.DefinitionError):
            _definition.load(given, {}, "/")
        return mistakes
    filled = _definition.load(given, {}, "/")
    assert _definition.load(filled, {}, "/") == filled
    for stage in _manifests.STAGES:
        json.dumps(_manifests.render(stage, filled, CLUSTER, IMAGES), allow_nan=False)
    return []


@FUZZ
@given(ANYTHING)
def test_nothing_at_all_is_a_definition(given: Any) -> None:
    assert judged(given)


@FUZZ
@given(st.data())
def test_a_definition_with_odd_values_is_refused_or_works(data: st.DataObject) -> None:
    definition = data.draw(st.sampled_from([shortest(), widget(), example()]))
    for _change in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.sampled_from(places(definition)))
        definition = put(definition, where, data.draw(NEARLY | ANYTHING))
    judged(definition)


@FUZZ
@given(st.data())
def test_a_name_that_is_not_known_is_always_a_mistake(data: st.DataObject) -> None:
    definition = example()
    sections = [path for path in places(definition) if isinstance(seen(definition, path), dict)]
    sections = [path for path in sections if isinstance(at(path), Section)]
    where = data.draw(st.sampled_from(sections))
    name = data.draw(NAMES.filter(lambda name: name not in at(where).fields))
    found = judged(put(definition, (*where, name), data.draw(ANYTHING)))
    assert any("unknown; " in mistake for mistake in found)


def at(path: tuple[Any, ...]) -> Any:
    """What the schema has for a place."""
    found: Any = SCHEMA
    for key in path:
        found = found.fields[key] if isinstance(found, Section) else found.of
    return found


WRONG = {
    Section: [[], "text", 7, True],
    Names: [[], "text", 7, True],
    Items: [{}, "text", 7, True],
    Value: [{}, [], float("nan"), {"a": 1}, ["a"]],
}


@pytest.mark.parametrize("path", places(example()), ids=lambda path: ".".join(map(str, path)))
def test_the_wrong_form_is_a_mistake_in_its_place(path: tuple[Any, ...]) -> None:
    told = "accelerator" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    for wrong in WRONG[type(at(path))]:
        if isinstance(wrong, float) and getattr(at(path), "kind", "") == "scalar":
            continue  # a module's parameter may be any number
        assert any(mistake.startswith(f"{told}:") for mistake in judged(put(example(), path, wrong))), wrong
