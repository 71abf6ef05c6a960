# SPDX-License-Identifier: Apache-2.0
"""What the check says of each mistake, and what is filled in."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._syntax import SYNTAX, fits, schema
from definitions import example, shortest, widget

MISTAKES = yaml.safe_load(Path(__file__).with_name("mistakes.yml").read_text())


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case["says"].split(":")[0])
def test_a_mistake_is_named_with_path_expectation_and_what_was_seen(case: dict[str, Any]) -> None:
    assert _definition.check(_definition.merge(shortest(), case["over"]), "/") == [f"accelerator.{case['says']}"]


def test_all_mistakes_are_told_at_once() -> None:
    over = {"health": {"interval": 0}, "driver": {"firmware": ["/a", "b", "/c"]}, "names": 1}
    with pytest.raises(_definition.DefinitionError) as caught:
        _definition.load(shortest(), over, "/")
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "accelerator.names",
        "accelerator.driver.firmware[0]",
        "accelerator.driver.firmware[2]",
        "accelerator.health.interval",
    ]
    assert str(caught.value).count("\n") == 4
    assert str(caught.value).startswith("the accelerator definition widget (paths from /) has 4 mistake(s):\n")


@pytest.mark.parametrize("given", [{"name": 5}, {"name": None}, {}, "text"])
def test_a_definition_without_a_name_is_told_by_its_folder(given: Any) -> None:
    with pytest.raises(_definition.DefinitionError, match=r"^the accelerator definition \(paths from /my\) has \d"):
        _definition.load(given, {}, "/my")


@pytest.mark.parametrize("given", [None, [], "accelerator", 7])
def test_what_is_no_mapping_is_one_mistake(given: Any) -> None:
    (mistake,) = _definition.check(given, "/")
    assert mistake.startswith("accelerator: expected a mapping with name, ")


def test_one_namespace_is_fine_for_an_operator_that_is_not_installed() -> None:
    assert widget(nfd={"namespace": "openshift-kmm", "install": False})["nfd"]["namespace"] == "openshift-kmm"


@pytest.mark.parametrize("filled", [widget(), example()], ids=["shortest", "shipped"])
def test_what_is_filled_already_stays_as_it_is(filled: Any) -> None:
    assert _definition.load(filled, {}, "/elsewhere") == filled


def test_the_shortest_definition_is_complete_after_filling() -> None:
    filled = widget()
    assert filled["namespace"] == "widget"
    assert filled["hardware"] == {
        "pci": {"vendor": "1234", "device": "11e8", "class": None},
        "loaded_module": None,
        "cpu_feature": None,
        "node_label": None,
    }
    assert filled["devices"] == {"glob": "/dev/widget-*", "count": None, "permissions": "rw"}
    assert filled["operator"]["api"] == {
        "group": "acme.example",
        "version": "v1alpha1",
        "kind": "Widget",
        "plural": "widgets",
    }
    assert filled["consumer"] is None
    assert filled["driver"]["parameters"] == {}
    assert filled["timeout"] == 600


def test_a_name_of_several_words_makes_a_kind() -> None:
    assert widget(name="smart-nic", namespace="x")["operator"]["api"]["kind"] == "SmartNic"


@pytest.mark.parametrize("folder", ["there", "there/sub"])
def test_paths_are_absolute_and_start_from_the_definition_or_from_home(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, there = tmp_path / "home", tmp_path / folder
    monkeypatch.setenv("HOME", str(home))
    for file in (home / "auth.json", there / "ca.pem", tmp_path / "db.key"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    over = {
        "driver": {"signing": {"key": str(tmp_path / "db.key"), "certificate": "ca.pem"}},
        "images": {"push_auth_file": "~/auth.json", "ca_bundle": "ca.pem", "driver": "quay.io/acme/widget:1"},
    }
    made = _definition.load(shortest(), over, str(there))
    assert made["driver"]["signing"] == {"key": str(tmp_path / "db.key"), "certificate": str(there / "ca.pem")}
    assert made["images"]["push_auth_file"] == str(home / "auth.json")
    assert made["images"]["ca_bundle"] == str(there / "ca.pem")


def test_filling_changes_nothing_that_was_given() -> None:
    given = shortest()
    before = copy.deepcopy(given)
    filled = _definition.fill(given, "/")
    filled["driver"]["firmware"].append("x")
    assert given == before
    assert _definition.fill(given, "/")["driver"]["firmware"] == []


def test_a_filled_definition_is_a_good_definition() -> None:
    """So that what the module returns can be given to it again."""
    assert _definition.load(example(), {}, "/elsewhere") == example()


@pytest.mark.parametrize(
    ("under", "over", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_overrides_are_merged_into_mappings_and_replace_the_rest(under: Any, over: Any, merged: Any) -> None:
    assert _definition.merge(under, over) == merged


@pytest.mark.parametrize("kind", sorted(SYNTAX))
@pytest.mark.parametrize(
    "bad", ["a\nb", "a\n", "a`id`", "$(id)", "a;b", 'a"b', "a'b", "a\\b", "a\0b", "-rf", "..", "../a"]
)
def test_no_syntax_lets_through_what_a_shell_or_modprobe_would_misread(kind: str, bad: str) -> None:
    harmless = {
        # One quoted argument of modprobe, which splits at blanks outside of quotes only.
        "parameter_text": {"a`id`", "$(id)", "a;b", "-rf", "..", "../a"},
        "path": {"-rf", "..", "../a"},  # made absolute before anybody sees it
    }
    assert not fits(kind, bad) or bad in harmless.get(kind, set())


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("image", "localhost:5000/ptemplate/ptemplate-driver:0.1.0-${KERNEL_FULL_VERSION}"),
        ("image", f"quay.io/a/b@sha256:{'0' * 64}"),
        ("image", f"quay.io/a/b:1@sha256:{'0' * 64}"),
        ("registry", "localhost:5000"),
        ("registry", "registry.example.com/team/sub"),
        ("parameter_text", "Hello, wörld"),
        ("label_value", ""),
        ("git_url", "git@host:team/repo.git"),
        ("glob", "/dev/dri/render[0-9]*"),
    ],
)
def test_what_is_usual_fits(kind: str, good: str) -> None:
    assert fits(kind, good)


@pytest.mark.parametrize(
    "bad", ["localhost:5000", "ubi9:latest", "quay.io/a/b", "quay.io/A/b:1", "quay.io/a/b:${HOME}", "a/b:"]
)
def test_an_image_has_registry_name_and_tag(bad: str) -> None:
    assert not fits("image", bad)


@pytest.mark.parametrize("kind", sorted(SYNTAX))
def test_patterns_mean_the_same_to_the_api_server(kind: str) -> None:
    """RE2 has no look-around and no back-references."""
    pattern = schema(kind)["pattern"]
    assert pattern.startswith("^(")
    assert pattern.endswith(")$")
    assert not [construct for construct in ("(?", "\\1", "\\Z", "\\b") if construct in pattern]
