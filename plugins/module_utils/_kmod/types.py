# SPDX-License-Identifier: Apache-2.0
"""What is found out about an image. PRIVATE."""

from __future__ import annotations

import typing as t

ERROR, WARNING = "error", "warning"


class Finding(t.NamedTuple):
    """severity error: it would not load, or not work. module and path are empty where it is about the image."""

    code: str
    severity: str
    module: str
    path: str
    text: str
    next: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}; next: {self.next}" if self.path else f"{self.text}; next: {self.next}"


__all__ = ("ERROR", "WARNING", "Finding")
