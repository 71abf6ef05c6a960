# SPDX-License-Identifier: Apache-2.0
"""Writes what follows from the definition's schema: docs/reference/definition.md, roles/common/meta/argument_specs.yml.

Usage: python docs/generate_reference.py [--check]     (--check: exit 1 and say which file is not what it should be)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.schema import (  # noqa: E402
    SCHEMA,
    Items,
    Names,
    Node,
    Section,
    Value,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._manifests._syntax import SYNTAX  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "definition.md"
SPECS = ROOT / "roles" / "common" / "meta" / "argument_specs.yml"

HEAD = """\
# The accelerator definition

<!-- Written by docs/generate_reference.py from plugins/module_utils/_definition/schema.py. Do not edit. -->

One mapping, `accelerator`, in a file that is given by `-e @my.yml`. A second mapping, `accelerator_overrides`, is
merged over it: mappings are merged, other values replaced, and null takes a value away. A field that is left out, or
null, has its default. All mistakes are reported together, before any change.

Relative paths start from the folder of the file that holds `accelerator`, those in `accelerator_overrides` too, also
when they stand in another file. `~` is the home of who runs the playbook. Folders and files must be there.

The shipped example is [ptemplate.yml](../../playbooks/vars/ptemplate.yml).
"""

# Options of the role that are not the definition.
OPTIONS = {
    "accelerator_overrides": {
        "type": "dict",
        "default": {},
        "description": "What is true of the site and not of the hardware; merged over `accelerator`.",
    },
    "accelerator_dir": {
        "type": "path",
        "description": "The folder that paths in the definition start from; found by itself when left out.",
    },
    "accelerator_report": {
        "type": "path",
        "description": "An HTML file that health.yml writes, for a browser; none when left out.",
    },
    "common_check_permissions": {
        "type": "bool",
        "default": True,
        "description": "Whether to fail before the first change when the user may not do what the play does.",
    },
    "common_purpose": {
        "type": "str",
        "choices": ["install", "removal"],
        "default": "install",
        "description": "What the play does: it is asked before the first change whether the user may.",
    },
    "common_written": {
        "type": "bool",
        "default": True,
        "description": "Whether what earlier runs wrote is read, too; what is no longer wanted of it is deleted.",
    },
    "common_allow_no_nodes": {
        "type": "bool",
        "default": False,
        "description": "Whether a cluster without any candidate node is fine, as for a teardown.",
    },
    "common_health_wait": {
        "type": "bool",
        "default": False,
        "description": "Whether health.yml waits until every device is there and healthy, or only looks.",
    },
    "common_health_nodes": {
        "type": "int",
        "description": "How many nodes should have devices; at least one when left out.",
    },
    "common_host_modules": {
        "type": "list",
        "elements": "str",
        "default": [],
        "description": "Modules that the nodes have loaded before, as patterns; a driver image need not bring them.",
    },
    "common_host_firmware": {
        "type": "list",
        "elements": "str",
        "default": [],
        "description": "Firmware that the nodes have themselves, as patterns; a driver image need not bring it.",
    },
    "common_require_signed": {
        "type": "bool",
        "default": False,
        "description": "Whether a driver image without signatures is refused; with `driver.signing` it always is.",
    },
}


def page() -> str:
    return HEAD + "".join(_sections("accelerator", SCHEMA))


def _sections(path: str, section: Section) -> Iterator[str]:
    yield f"\n## {path}\n\n{section.text}\n"
    if section.optional:
        yield "\nMay be left out as a whole.\n"
    yield "\n| field | what it may be | default | |\n| --- | --- | --- | --- |\n"
    for name, node in section.fields.items():
        yield f"| `{name}` | {_accepted(node)} | {_default(node)} | {node.text} |\n"
    for name, node in section.fields.items():
        if isinstance(node, Section):
            yield from _sections(f"{path}.{name}", node)
        elif isinstance(node, (Items, Names)) and isinstance(node.of, Section):
            each = f"{name}[]" if isinstance(node, Items) else f"{name}.NAME"
            yield from _sections(f"{path}.{each}", node.of._replace(text=f"Each of `{name}`."))


def _accepted(node: Node) -> str:
    if isinstance(node, Section):
        return "mapping, see below"
    if isinstance(node, Names):
        values = "see below" if isinstance(node.of, Section) else _accepted(node.of)
        return f"mapping; names: {SYNTAX[node.key].expected}; values: {values}"
    if isinstance(node, Items):
        return "list of mappings, see below" if isinstance(node.of, Section) else f"list of: {_accepted(node.of)}"
    if node.choices:
        return " or ".join(f"`{choice}`" for choice in node.choices)
    if node.kind == "integer":
        limits = [
            f"{word} {limit}" for word, limit in (("from", node.minimum), ("to", node.maximum)) if limit is not None
        ]
        return " ".join(["whole number", *limits])
    simple = {"boolean": "`true` or `false`", "scalar": "number, boolean or text", "text": "text"}
    return (simple.get(node.kind) or SYNTAX[node.kind].expected).replace("|", "\\|")


def _default(node: Node) -> str:
    if isinstance(node, (Section, Names)):
        return ""
    if isinstance(node, Items):
        if node.default is None:
            return ""
        return ", ".join(f"`{value}`" for value in node.default) or "empty"
    if node.required:
        return "**required**"
    if node.default is not None:
        return f"`{str(node.default).lower() if isinstance(node.default, bool) else node.default}`"
    return node.default_text


def specs() -> str:
    """No nested options: Ansible would check them first, one at a time and before the overrides are merged."""
    fields = [f"{name}: {_first(node)}" for name, node in SCHEMA.fields.items()]
    accelerator = {
        "type": "dict",
        "required": True,
        "description": ["The accelerator definition. Checked by the module accelerator_definition.", *fields],
    }
    main = {
        "short_description": "Checks the accelerator definition and reads the cluster",
        "description": "Used by the other roles. Returns accelerator_definition and accelerator_facts.",
        "options": {"accelerator": accelerator, **OPTIONS},
    }
    text = yaml.safe_dump({"argument_specs": {"main": main}}, sort_keys=False, width=118, indent=2)
    return f"---\n# Written by docs/generate_reference.py. Do not edit.\n{_indented(text)}"


def _first(node: Node) -> str:
    required = isinstance(node, Value) and node.required
    return f"{node.text}{' Required.' if required else ''}"


def _indented(text: str) -> str:
    """Lists a level deeper than their key, as ansible-lint wants; the only lists here are descriptions."""
    lines, inside = [], False
    for line in text.splitlines():
        start = line.lstrip()
        inside = start.startswith("- ") or (inside and not start.split(" ")[0].endswith(":"))
        lines.append(f"  {line}" if inside else line)
    return "\n".join(lines) + "\n"


def main() -> int:
    files = {PAGE: page(), SPECS: specs()}
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)}: not what the schema says; next: python docs/generate_reference.py")
        return bool(stale)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
        print(f"written: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
