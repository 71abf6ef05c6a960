# SPDX-License-Identifier: Apache-2.0
"""Loading the filters costs little: each task's process loads all of them."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[4] / "plugins" / "filter"
COLLECTION = "ansible_collections.ecosystem_edge.accelerator.plugins"
FILES = sorted(file.stem for file in FOLDER.glob("*.py"))
LIGHT = {"_names", "_toolkits"}  # module_utils that filters may import at once

LOADS = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module("{COLLECTION}.filter." + name)
print(*sorted(name.split(".")[5] for name in sys.modules if name.startswith("{COLLECTION}.module_utils.")))
"""


def test_loading_all_filters_imports_no_heavy_module() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *FILES], capture_output=True, text=True, check=True, env={"PYTHONPATH": path()}
    )
    assert set(done.stdout.split()) == LIGHT


def path() -> str:
    return ":".join(entry for entry in sys.path if entry)


@pytest.mark.parametrize("file", FILES)
def test_every_deferred_function_exists(file: str) -> None:
    """A wrong name would be found by nobody but its first caller."""
    module = importlib.import_module(f"{COLLECTION}.filter.{file}")
    functions = [*module.FilterModule().filters().values(), *vars(module).values()]
    for function in functions:
        if getattr(function, "__qualname__", "") == "deferred.<locals>.call":
            cells = inspect.getclosurevars(function).nonlocals
            utils = importlib.import_module(f"{COLLECTION}.module_utils.{cells['module']}")
            assert callable(getattr(utils, cells["function"]))
