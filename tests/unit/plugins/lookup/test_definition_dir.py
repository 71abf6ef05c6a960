# SPDX-License-Identifier: Apache-2.0
"""Where the definition's paths start from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.ecosystem_edge.accelerator.plugins.lookup import definition_dir

TEMPLAR = SimpleNamespace(template=lambda value: value)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (
        ("a/my.yml", "accelerator: {}"),
        ("b/my.yml", "accelerator: {}"),
        ("c/site.yml", "accelerator_overrides: {}"),
        ("d/my.yml", "acceleratr: {name: widget}"),
        ("e/my.yml", "name: widget\nresource: acme.example/widget"),
        ("f/my.yml", "accelerator: {}\naccelerator_override: {}"),
        ("g/survey.yml", "accelerator_registry: r\naccelerator_managed_by: operator\naccelerator_dir: c\nname: x"),
        ("h/empty.yml", ""),
    ):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)


def look(options: tuple[str, ...], variables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(context, "CLIARGS", {"extra_vars": options})
    (found,) = definition_dir.LookupModule(loader=DataLoader(), templar=TEMPLAR).run([], variables)
    return Path(found)


@pytest.mark.parametrize(
    ("options", "variables", "folder"),
    [
        ((), {}, definition_dir.SHIPPED),
        (("@a/my.yml",), {}, "a"),
        (("x=y", "@a/my.yml", "@c/site.yml", '{"accelerator_overrides": {}}'), {}, "a"),
        (("@a/my.yml", "@b/my.yml"), {}, "b"),
        (("@c/site.yml",), {}, definition_dir.SHIPPED),
        (("@a/my.yml",), {"accelerator_dir": "c"}, "c"),
        (("@g/survey.yml", "@h/empty.yml", "", '["x"]'), {}, definition_dir.SHIPPED),
    ],
)
def test_the_folder_of_the_definition_is_found(
    options: tuple[str, ...],
    variables: dict[str, Any],
    folder: str | Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert look(options, variables, monkeypatch) == tmp_path / folder


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleError, match=r"cannot read .*/nowhere\.yml, given by -e"):
        look(("@nowhere.yml",), {}, monkeypatch)


@pytest.mark.parametrize("variables", [{}, {"accelerator_dir": "c"}])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("a/my.yml",), "-e a/my.yml: neither name=value nor a file; next: -e @a/my.yml"),
        (("@a/my.yml", "b/my.yml"), "-e b/my.yml: neither name=value nor a file; next: -e @b/my.yml"),
        (
            ("@d/my.yml", "@c/site.yml"),
            "d/my.yml has no mapping accelerator (it has: acceleratr); next: rename acceleratr to accelerator",
        ),
        (
            ("@e/my.yml",),
            "e/my.yml has no mapping accelerator (it has: name, resource); "
            "next: put a line accelerator: above these and indent them",
        ),
        (
            ("@f/my.yml",),
            "f/my.yml has no mapping accelerator_overrides (it has: accelerator, accelerator_override); "
            "next: rename accelerator_override to accelerator_overrides",
        ),
    ],
)
def test_a_slip_that_would_act_on_the_shipped_definition_is_refused(
    options: tuple[str, ...], variables: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AnsibleError) as caught:
        look(options, variables, monkeypatch)
    assert str(caught.value) == says


def test_a_mapping_that_another_file_has_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(("@a/my.yml", "@e/my.yml", "@d/my.yml"), {}, monkeypatch) == tmp_path / "a"


def test_the_shipped_definition_is_there() -> None:
    assert (definition_dir.SHIPPED / "ptemplate.yml").is_file()
