# SPDX-License-Identifier: Apache-2.0
"""Rows of cells as aligned text. Pure. PRIVATE to this collection."""

from __future__ import annotations

import typing as t


def aligned(rows: t.Sequence[t.Sequence[str]], right: t.Container[int] = ()) -> str:
    """right: the columns that are flushed right, as numbers are."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(widths[index]) if index in right else cell.ljust(widths[index]) for index, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


__all__ = ("aligned",)
