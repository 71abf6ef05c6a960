# SPDX-License-Identifier: Apache-2.0
"""The custom resource: made from the definition, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.schema import DRIVER
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.schema import (
    IMAGES as IMAGE_FIELDS,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._syntax import schema
from definitions import IMAGES, Obj, example, facts, widget

CONSUMER = {"consumer": {"command": ["run"]}, "images": {"consumer": "registry.example/c:1"}}


def test_the_operator_makes_of_the_custom_resource_what_the_playbook_would_make() -> None:
    """definition -> custom resource -> effective definition -> the same objects."""
    over: Obj = {"driver": {"firmware": ["w"], "replaces": ["old"], "parameters": {"max_dev": 5, "on": True, "x": 1.5}}}
    over["images"] = {"pull_secret": "pull", "tls_verify": False}
    over["tolerations"] = [{"key": "team", "value": "a"}, {"key": "x", "operator": "Exists", "effect": "NoExecute"}]
    for definition in (example(**over), widget(**over), widget(nodes={"pool": "x"}, **CONSUMER)):
        effective, images = _manifests.effective(definition, _manifests.custom_resource(definition, IMAGES)["spec"])
        for stage in ("kmm", "device_plugin", "consumer"):
            assert _manifests.render(stage, effective, facts(), images) == _manifests.render(
                stage, definition, facts(), IMAGES
            )


@pytest.mark.parametrize(
    ("spec", "path", "value"),
    [
        ({"maxdev": 3}, ("driver", "parameters", "max_dev"), 3),
        ({"maxdev": 3}, ("devices", "count"), 3),
        ({"requiredDevices": 4}, ("consumer", "devices"), 4),
        ({"consumer": None}, ("consumer",), None),
        ({"imagePullSecret": {"name": "pull"}}, ("images", "pull_secret"), "pull"),
        ({"tolerations": [{"key": "team"}]}, ("tolerations",), [{"key": "team"}]),
    ],
)
def test_a_field_of_the_custom_resource_has_an_effect(spec: Obj, path: tuple[str, ...], value: Any) -> None:
    definition = example()
    whole = {**_manifests.custom_resource(definition, IMAGES)["spec"], **spec}
    effective, _images = _manifests.effective(definition, whole)
    for step in path:
        effective = effective[step]
    assert effective == value


def test_a_custom_resource_without_selector_is_refused() -> None:
    spec = {**_manifests.custom_resource(widget(), IMAGES)["spec"], "selector": {}}
    with pytest.raises(ValueError, match=r"spec\.selector: expected at least one label"):
        _manifests.effective(widget(), spec)


def test_a_toleration_that_no_pod_may_have_is_refused() -> None:
    """The CRD's schema cannot say it, KMM would take it, and its workers would never be made."""
    tolerations = [{"key": "team"}, {"key": "team", "operator": "Exists", "value": "a"}]
    spec = {**_manifests.custom_resource(widget(), IMAGES)["spec"], "tolerations": tolerations}
    with pytest.raises(ValueError, match=r"spec\.tolerations\[1\]\.value: expected none"):
        _manifests.effective(widget(), spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"requiredDevices": 6}, r"at most 5, what each node has by spec\.maxdev; seen 6"),
        ({"maxdev": 1}, r"at most 1, what each node has by spec\.maxdev; seen 2"),
        ({"maxdev": None, "requiredDevices": 6}, r"at most 5, what each node has by devices\.count; seen 6"),
    ],
)
def test_a_consumer_that_no_node_could_serve_is_refused(spec: Obj, said: str) -> None:
    whole = {**_manifests.custom_resource(example(), IMAGES)["spec"], **spec}
    with pytest.raises(ValueError, match=rf"spec\.requiredDevices: expected {said}"):
        _manifests.effective(example(), {key: value for key, value in whole.items() if value is not None})


def test_effective_leaves_the_definition_alone() -> None:
    definition = example()
    before = json.dumps(definition)
    _manifests.effective(definition, {**_manifests.custom_resource(definition, IMAGES)["spec"], "maxdev": 9})
    assert json.dumps(definition) == before


def test_the_crd_has_a_field_for_each_of_the_definitions_fields() -> None:
    (version,) = _manifests.crd(example())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert {key: spec["maxdev"][key] for key in ("type", "minimum", "maximum")} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1024,
    }
    assert spec["defaultmsg"]["type"] == "string"
    assert set(_manifests.custom_resource(example(), IMAGES)["spec"]) <= set(spec)


def test_the_crds_driver_says_the_same_as_the_definitions_schema() -> None:
    """Each of its fields is one of the definition's, with the same syntax."""
    (version,) = _manifests.crd(widget())["spec"]["versions"]
    driver = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["driver"]["properties"]
    fields = {**DRIVER.fields, "image": IMAGE_FIELDS.fields["driver"]}
    own = {"insecureRegistry", "parameters"}  # the reverse of tls_verify; number or text
    assert len(set(driver) - own) == 5
    for name in set(driver) - own:
        node = fields[name]
        seen, wanted = (driver[name]["items"], node.of) if hasattr(node, "of") else (driver[name], node)
        assert seen["pattern"] == schema(wanted.kind)["pattern"], name
