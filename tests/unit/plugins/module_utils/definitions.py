# SPDX-License-Identifier: Apache-2.0
"""Definitions and facts for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition, _manifests

ROOT = Path(__file__).resolve().parents[4]
EXAMPLE = ROOT / "playbooks" / "vars" / "ptemplate.yml"
Obj = dict[str, Any]
IMAGES = {name: f"registry.example/{name}:1" for name in ("driver", "device_plugin", "operator", "consumer")}


def shortest() -> Obj:
    return {
        "name": "widget",
        "resource": "acme.example/widget",
        "hardware": {"pci": {"vendor": "1234", "device": "11E8"}},
        "driver": {"source": ".", "module": "widget"},
        "images": {"registry": "registry.example/team"},
    }


def example(**over: Any) -> Obj:
    given = yaml.safe_load(EXAMPLE.read_text())["accelerator"]
    overrides = _definition.merge({"images": {"registry": "registry.example/ptemplate"}}, over)
    return _definition.load(given, overrides, str(EXAMPLE.parent))


def widget(**over: Any) -> Obj:
    return _definition.load(shortest(), over, "/")


def facts(**over: Any) -> Obj:
    empty = {
        "platform": "kubernetes",
        "apis": {},
        "nodes": [],
        "nfd": {"api": None, "instances": [], "namespace": None},
        "kmm": {"api": None},
        "olm": {"present": True, "subscriptions": []},
        "namespaces": {},
    }
    return {**empty, **over}


def node(name: str, **labels: str) -> Obj:
    return {"name": name, "labels": labels}


def render(stage: str, definition: Obj, **seen: Any) -> list[Obj]:
    return _manifests.render(stage, definition, facts(**seen), IMAGES)


def of(objects: list[Obj], kind: str) -> Obj:
    (found,) = [item for item in objects if item["kind"] == kind]
    return found


def kinds(objects: list[Obj]) -> list[str]:
    return [item["kind"] for item in objects]
