# SPDX-License-Identifier: Apache-2.0
"""Functions whose module is imported when they are first called. PRIVATE to this collection.

Ansible runs each task in a process of its own, which loads all filters of a collection as soon as it needs one of them,
and compiles their imports anew. Of a second run of site.yml that was a sixth. So a filter imports what it needs when it
is called, and the others cost nothing.
"""

from __future__ import annotations

import importlib
import typing as t

UTILS = "ansible_collections.ecosystem_edge.accelerator.plugins.module_utils"


def deferred(module: str, function: str) -> t.Callable[..., t.Any]:
    """function: its name in `module`, which is the name of a module_util."""

    def call(*args: t.Any, **options: t.Any) -> t.Any:
        return getattr(importlib.import_module(f"{UTILS}.{module}"), function)(*args, **options)

    return call
