#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Ansible module: check an accelerator definition and fill its defaults."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accelerator_definition
short_description: Checks an accelerator definition and fills its defaults
version_added: 0.1.0
description:
  - Puts the site's overrides over the definition, checks the result, and returns it complete as a fact.
  - All mistakes are reported together, each with its path in the mapping, what is accepted and what was seen.
  - Touches no cluster. Runs where the sources are that the definition names.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
requirements:
  - python >= 3.9
attributes:
  check_mode:
    description: Does the same in check mode; it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
options:
  accelerator:
    description: The definition. Its fields are in the collection's C(docs/reference/definition.md).
    type: dict
    required: true
  overrides:
    description:
      - What is true of the site and not of the hardware, such as the registry. Mappings in it are merged into
        O(accelerator), other values replace what is there.
    type: dict
    default: {}
  directory:
    description: The folder that relative paths in the definition start from.
    type: path
    required: true
seealso:
  - plugin: ecosystem_edge.accelerator.definition_dir
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Check the definition and fill its defaults
  ecosystem_edge.accelerator.accelerator_definition:
    accelerator: "{{ accelerator }}"
    overrides: "{{ accelerator_overrides | default({}) }}"
    directory: "{{ lookup('ecosystem_edge.accelerator.definition_dir') }}"

- name: Show the custom resource's API
  ansible.builtin.debug:
    var: accelerator_definition.operator.api
"""

RETURN = r"""
ansible_facts:
  description: Holds one fact, C(accelerator_definition).
  returned: success
  type: dict
  contains:
    accelerator_definition:
      description: The definition with every default filled and every path absolute.
      returned: success
      type: dict
mistakes:
  description: What is wrong, one text each.
  returned: when the definition is wrong
  type: list
  elements: str
  sample: ["accelerator.health.interval: expected a whole number from 1 to 3600; seen 0"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition import DefinitionError, load


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "accelerator": {"type": "dict", "required": True},
            "overrides": {"type": "dict", "default": {}},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        complete = load(given["accelerator"], given["overrides"], given["directory"])
    except DefinitionError as error:
        module.fail_json(
            msg=f"{error}\nnothing has been changed; next: correct accelerator or accelerator_overrides, "
            "see docs/reference/definition.md",
            mistakes=error.mistakes,
        )
    module.exit_json(changed=False, ansible_facts={"accelerator_definition": complete})


if __name__ == "__main__":
    main()
