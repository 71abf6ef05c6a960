# SPDX-License-Identifier: Apache-2.0
"""OLM takes one OperatorGroup a namespace: ours, or one that was there and fits."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _names as names
from definitions import IMAGES, Obj, facts, widget


def render(stage: str, definition: Obj, **seen: Any) -> list[Obj]:
    return _manifests.render(stage, definition, facts(**seen), IMAGES)


def kinds(objects: list[Obj]) -> list[str]:
    return [item["kind"] for item in objects]


def group(name: str, managed_by: str | None, *targets: str, namespace: str = "openshift-nfd") -> Obj:
    return {"name": name, "namespace": namespace, "targets": list(targets), "managed_by": managed_by}


GROUPS = {
    "none": ([], True, False),
    "ours": ([group("nfd", names.PLAYBOOK, "openshift-nfd")], True, False),
    "another's that fits": ([group("theirs", None, "openshift-nfd")], False, False),
    "another's for all namespaces": ([group("theirs", None)], False, True),
    "another's for others": ([group("theirs", None, "a", "b")], False, True),
    "two of others": ([group(name, None, "openshift-nfd") for name in "ab"], False, True),
    "another's beside ours": ([group("theirs", None), group("nfd", names.PLAYBOOK, "openshift-nfd")], True, True),
    "elsewhere": ([group("theirs", None, namespace="other")], True, False),
}


@pytest.mark.parametrize(("groups", "rendered", "refused"), GROUPS.values(), ids=GROUPS)
def test_a_namespace_has_one_operator_group(groups: list[Obj], rendered: bool, refused: bool) -> None:
    seen = {"olm": {"present": True, "subscriptions": [], "operator_groups": groups}}
    assert ("OperatorGroup" in kinds(render("nfd_install", widget(), **seen))) is rendered
    assert bool(_manifests.obstacles(widget(), facts(**seen))) is refused
    assert _manifests.obstacles(widget(nfd={"install": False}), facts(**seen)) == []
    assert _manifests.obstacles(widget(hardware={"pci": None, "node_label": {"a": "b"}}), facts(**seen)) == []


def test_the_message_names_both_operator_groups() -> None:
    theirs = group("theirs", None, "a", "b", namespace="openshift-kmm")
    seen = {"olm": {"present": True, "subscriptions": [], "operator_groups": [theirs]}}
    (text,) = _manifests.obstacles(widget(), facts(**seen))
    assert "expected only kernel-module-management for all namespaces" in text
    assert "seen theirs for a, b; nothing was changed; next: kubectl -n openshift-kmm get operatorgroups" in text
