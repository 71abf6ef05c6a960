# SPDX-License-Identifier: Apache-2.0
"""Each filter is shown with its own documentation."""

from __future__ import annotations

import importlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[4] / "plugins" / "filter"
PACKAGE = "ansible_collections.ecosystem_edge.accelerator.plugins.filter"


def test_a_file_with_several_filters_has_no_documentation_of_its_own() -> None:
    """ansible-doc would show it for all of them, whatever their .yml files say."""
    seen = 0
    for file in FOLDER.glob("*.py"):
        module = importlib.import_module(f"{PACKAGE}.{file.stem}")
        filters = module.FilterModule().filters()
        if len(filters) > 1:
            seen += 1
            assert not hasattr(module, "DOCUMENTATION"), file.name
            assert [name for name in filters if not (FOLDER / f"{name}.yml").exists()] == []
    assert seen
