# SPDX-License-Identifier: Apache-2.0
"""Filter: the Kubernetes objects that follow from an accelerator definition."""

from __future__ import annotations

DOCUMENTATION = r"""
name: manifests
short_description: The Kubernetes objects that follow from an accelerator definition
version_added: 0.1.0
description:
  - Calls the pure functions that the operator uses too. Nothing is read from, or sent to, a cluster.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
positional: stages, facts, images
options:
  _input:
    description: The filled accelerator definition, as M(ecosystem_edge.accelerator.accelerator_definition) returns it.
    type: dict
    required: true
  stages:
    description:
      - One stage or a list of them. V(namespace), V(driver_build), V(nfd_install), V(nfd), V(kmm_install), V(kmm),
        V(device_plugin), V(consumer), V(operator), V(monitoring); V(nfd_installed), V(kmm_installed) for a teardown.
    type: list
    elements: str
    required: true
  facts:
    description: C(accelerator_facts), as M(ecosystem_edge.accelerator.accelerator_info) returns them.
    type: dict
    required: true
  images:
    description:
      - References of the images that the stages need. C(driver), with the placeholder for the kernel;
        C(device_plugin); C(consumer); C(operator).
      - For V(driver_build), C(driver_files), the texts of C(files/driver_container) by their names, and
        C(driver_builds), what P(ecosystem_edge.accelerator.driver_builds#filter) returned.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Apply the device plugin and the consumer
  kubernetes.core.k8s:
    definition: "{{ accelerator_definition | ecosystem_edge.accelerator.manifests(
      ['device_plugin', 'consumer'], accelerator_facts, device_plugin_images) }}"
    apply: true
"""

RETURN = r"""
_value:
  description: The objects, in the order in which they are to be applied.
  type: list
  elements: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._deferred import deferred

Json = t.Dict[str, t.Any]

_render = deferred("_manifests", "render")


def manifests(
    definition: Json, stages: t.Union[str, t.Sequence[str]], facts: Json, images: t.Optional[Json] = None
) -> t.List[Json]:
    given = [stages] if isinstance(stages, str) else stages
    definition, facts, images = plain(definition), plain(facts), plain(images or {})
    try:
        return [made for stage in given for made in _render(stage, definition, facts, images)]
    except ValueError as error:
        raise AnsibleFilterError(f"manifests: {error}") from error


def plain(value: t.Any) -> t.Any:
    """Ansible's own containers, as of 2.19, hold values that only Python code sees; what is in C, as json, does not."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"manifests": manifests}
