# SPDX-License-Identifier: Apache-2.0
"""The accelerator definition: checked, filled. PRIVATE to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.check import check
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.fill import fill, merge

Json = t.Dict[str, t.Any]


class DefinitionError(ValueError):
    """Every mistake, a line each, and whose they are: the wrong definition may have been taken."""

    def __init__(self, mistakes: t.Sequence[str], definition: t.Any, folder: str) -> None:
        self.mistakes = list(mistakes)
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        name = definition.get("name") if isinstance(definition, dict) else None
        what = f"the accelerator definition{f' {name}' if isinstance(name, str) else ''} (paths from {folder})"
        super().__init__(f"{what} has {len(self.mistakes)} mistake(s):{lines}")


def load(definition: t.Any, overrides: t.Any, folder: str) -> Json:
    """The complete definition with the overrides in it; relative paths start from `folder`."""
    merged = merge(definition, overrides or {})
    mistakes = check(merged, folder)
    if mistakes:
        raise DefinitionError(mistakes, merged, folder)
    return fill(merged, folder)


__all__ = ("DefinitionError", "check", "fill", "load", "merge")
