# SPDX-License-Identifier: Apache-2.0
"""What the module returns, and what it says when it fails."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.modules import accelerator_definition

GIVEN = {
    "name": "widget",
    "resource": "acme.example/widget",
    "hardware": {"cpu_feature": "AMXTILE"},
    "driver": {"source": "drv", "module": "widget"},
}


class Ended(Exception):
    """The module's exit_json or fail_json."""


class FakeModule:
    params: dict[str, Any] = {}

    def __init__(self, **_options: Any) -> None:
        pass

    def exit_json(self, **result: Any) -> None:
        raise Ended(result)

    def fail_json(self, **result: Any) -> None:
        raise Ended({**result, "failed": True})


def run(monkeypatch: pytest.MonkeyPatch, **params: Any) -> dict[str, Any]:
    monkeypatch.setattr(accelerator_definition, "AnsibleModule", FakeModule)
    monkeypatch.setattr(FakeModule, "params", params)
    with pytest.raises(Ended) as ended:
        accelerator_definition.main()
    return ended.value.args[0]


def test_overrides_are_in_and_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "drv").mkdir()
    overrides = {"images": {"registry": "registry.example/team"}}
    result = run(monkeypatch, accelerator=GIVEN, overrides=overrides, directory=str(tmp_path))
    definition = result["ansible_facts"]["accelerator_definition"]
    assert result["changed"] is False
    assert definition["driver"]["source"] == str(tmp_path / "drv")
    assert definition["images"]["registry"] == "registry.example/team"


def test_all_mistakes_and_the_next_step_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    result = run(monkeypatch, accelerator=GIVEN, overrides={"timeout": 1}, directory=str(tmp_path))
    assert result["failed"]
    assert [mistake.split(":")[0] for mistake in result["mistakes"]] == [
        "accelerator.driver.source",
        "accelerator.timeout",
    ]
    assert all(mistake in result["msg"] for mistake in result["mistakes"])
    assert "nothing has been changed; next: correct accelerator or accelerator_overrides" in result["msg"]
