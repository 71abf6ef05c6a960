# SPDX-License-Identifier: Apache-2.0
"""The AAP files against their schemas: awx.awx's argument specs, ansible-lint's schema, and AWX's survey rules."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

# AWX's rules for a survey question: awx/api/views, "survey_spec" (types, and what each needs).
QUESTION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["question_name", "type", "variable", "required"],
    "properties": {
        "question_name": {"type": "string", "minLength": 1},
        "question_description": {"type": "string"},
        "required": {"type": "boolean"},
        "type": {"enum": ["text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"]},
        "variable": {"type": "string", "pattern": "^[a-z_][a-z0-9_]*$"},
        "choices": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "min": {"type": "integer"},
        "max": {"type": "integer"},
        "default": {},
    },
}
SURVEY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "description", "spec"],
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "spec": {"type": "array", "minItems": 1, "items": QUESTION},
    },
}


class Loader(yaml.SafeLoader):
    """YAML with Ansible's !unsafe, which keeps a template as text."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def aap(root: Path) -> dict[str, Any]:
    return yaml.load((root / "extensions/aap/job_templates.yml").read_text(), Loader)


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    names = ["awx.awx.job_template", "awx.awx.project", "awx.awx.execution_environment"]
    out = subprocess.run(["ansible-doc", "-j", *names], check=True, capture_output=True, text=True).stdout
    return {name.split(".")[-1]: doc["doc"]["options"] for name, doc in json.loads(out).items()}


PYTHON_TYPES = {
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "int": (int,),
    "raw": (object,),
}


def mistakes(item: dict[str, Any], options: dict[str, Any]) -> list[str]:
    found = [f"{item['name']}: no option {key}" for key in item if key not in options]
    for key, value in item.items():
        option = options.get(key, {"type": "raw"})
        if not isinstance(value, PYTHON_TYPES.get(option.get("type", "str"), (object,))):
            found.append(f"{item['name']}.{key}: expected {option['type']}, found {value!r}")
        if option.get("choices") and value not in option["choices"]:
            found.append(f"{item['name']}.{key}: expected one of {option['choices']}, found {value!r}")
    missing = [key for key, option in options.items() if option.get("required") and key not in item]
    return found + [f"{item['name']}: {key} is required" for key in missing]


@pytest.mark.parametrize(
    ("section", "module"),
    [
        ("controller_templates", "job_template"),
        ("controller_projects", "project"),
        ("controller_execution_environments", "execution_environment"),
    ],
)
def test_each_object_fits_the_modules_options(
    aap: dict[str, Any], options: dict[str, Any], section: str, module: str
) -> None:
    assert aap[section]
    assert [m for item in aap[section] for m in mistakes(item, options[module])] == []


def test_the_check_finds_a_mistake(options: dict[str, Any]) -> None:
    wrong = {"name": "x", "playbok": "site.yml", "survey_enabled": "maybe"}
    assert len(mistakes(wrong, options["job_template"])) == 2


def test_surveys_and_variables_agree(aap: dict[str, Any], root: Path) -> None:
    for template in aap["controller_templates"]:
        jsonschema.validate(template["survey_spec"], SURVEY)
        assert (root / template["playbook"]).is_file()
        asked = {question["variable"] for question in template["survey_spec"]["spec"]}
        extra = json.dumps(template["extra_vars"])
        assert all(variable in extra for variable in asked), f"{template['name']}: an answer is not used"
        for question in template["survey_spec"]["spec"]:
            if question["type"] == "multiplechoice":
                assert question["default"] in question["choices"]


def test_execution_environment_fits_its_schema(root: Path) -> None:
    schema = json.loads(files("ansiblelint").joinpath("schemas/execution-environment.json").read_text())
    definition = yaml.safe_load((root / "extensions/aap/execution-environment.yml").read_text())
    jsonschema.validate(definition, schema)
    version = yaml.safe_load((root / "galaxy.yml").read_text())["version"]
    names = [item["name"] for item in definition["dependencies"]["galaxy"]["collections"]]
    assert f"dist/ecosystem_edge-accelerator-{version}.tar.gz" in names


def test_execution_environment_can_be_prepared(root: Path, tmp_path: Path) -> None:
    """ansible-builder accepts it and writes the build context, without pulling anything."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "ecosystem_edge-accelerator-0.1.0.tar.gz").write_bytes(b"")
    folder = tmp_path / "extensions" / "aap"
    folder.mkdir(parents=True)
    source = root / "extensions/aap/execution-environment.yml"
    (folder / source.name).write_text(source.read_text())
    subprocess.run(
        ["ansible-builder", "create", "-f", source.name, "-c", str(tmp_path / "context")],
        cwd=folder,
        check=True,
    )
    assert (tmp_path / "context" / "Containerfile").is_file()
