# SPDX-License-Identifier: Apache-2.0
"""Lookup: the folder that relative paths in the accelerator definition start from."""

from __future__ import annotations

DOCUMENTATION = r"""
name: definition_dir
short_description: The folder of the accelerator definition
version_added: 0.1.0
description:
  - Paths in an accelerator definition are relative to its file. Ansible does not tell which file a variable is from,
    so this looks for it.
  - It is the variable C(accelerator_dir) if that is set, or else the folder of the last C(-e @FILE) on the command line
    that holds C(accelerator), or else the folder of the definition that the collection ships.
  - It refuses a C(-e) that says something else than was meant, since the shipped definition would then be used unasked.
    That is a file without C(@), and a file whose mapping has nearly the name C(accelerator) or none.
author:
  - The ecosystem_edge.accelerator maintainers (@ecosystem-edge)
options:
  _terms:
    description: None.
    required: false
"""

EXAMPLES = r"""
- name: Show where paths in the definition start from
  ansible.builtin.debug:
    msg: "{{ lookup('ecosystem_edge.accelerator.definition_dir') }}"
"""

RETURN = r"""
_raw:
  description: One absolute path.
  type: list
  elements: str
"""

import difflib
import typing as t
from pathlib import Path

from ansible import context
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.lookup import LookupBase

SHIPPED = Path(__file__).resolve().parents[2] / "playbooks" / "vars"
MAPPINGS = ("accelerator", "accelerator_overrides")
KNOWN = (*MAPPINGS, "accelerator_dir")
NEAR = 0.8  # a slip of the hand; accelerator_registry, of the AAP survey, is farther from both


class LookupModule(LookupBase):
    def run(self, terms: t.Any, variables: t.Optional[t.Dict[str, t.Any]] = None, **kwargs: t.Any) -> t.List[str]:
        options = [option for option in context.CLIARGS.get("extra_vars") or () if option]
        names = {option[1:]: self._names(option[1:]) for option in options if option.startswith("@")}
        mistake = next((slip for slip in (*map(_no_file, options), _misnamed(names)) if slip), None)
        if mistake:
            raise AnsibleError(mistake)
        given = (variables or {}).get("accelerator_dir")
        if given:
            return [str(_absolute(self._templar.template(given)))]
        holding = [_absolute(file).parent for file, held in names.items() if "accelerator" in held]
        return [str([SHIPPED, *holding][-1])]

    def _names(self, path: str) -> t.List[str]:
        """The variables that a file holds."""
        file = _absolute(path)
        try:
            content = (self._loader or DataLoader()).load_from_file(str(file))
        except AnsibleError as error:
            raise AnsibleError(f"definition_dir: cannot read {file}, given by -e: {error}") from error
        return [str(name) for name in content] if isinstance(content, dict) else []


def _no_file(option: str) -> t.Optional[str]:
    """Ansible takes a word without = for nothing, and says nothing."""
    if option.startswith(("@", "{", "[")) or "=" in option:
        return None
    return f"-e {option}: neither name=value nor a file; next: -e @{option}"


def _misnamed(files: t.Mapping[str, t.Sequence[str]]) -> t.Optional[str]:
    """What one of the files calls by a wrong name, of what none of them has."""
    given = {name for names in files.values() for name in names}
    missing = [name for name in MAPPINGS if name not in given]
    for file, names in files.items():
        for name in names:
            near = [] if name in KNOWN else difflib.get_close_matches(name, missing, 1, NEAR)
            if near:
                return f"{_lacks(file, near[0], names)}; next: rename {name} to {near[0]}"
        if "accelerator" in missing and {"name", "resource"} <= set(names):
            return f"{_lacks(file, 'accelerator', names)}; next: put a line accelerator: above these and indent them"
    return None


def _lacks(file: str, mapping: str, names: t.Sequence[str]) -> str:
    return f"{file} has no mapping {mapping} (it has: {', '.join(names)})"


def _absolute(path: str) -> Path:
    """From where ansible-playbook was called, as for all of its options."""
    return Path(path).expanduser().absolute()
