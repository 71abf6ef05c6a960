# SPDX-License-Identifier: Apache-2.0
"""Reads the command blocks of the documentation, with the marker that says how each is tested."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"(?:^<!-- (?P<marker>[^\n]*?) -->\n)?^```(?:bash|sh|console)\n(?P<text>.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Block:
    page: str
    number: int  # of the block on its page, from 1
    marker: str  # "" when there is none
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}#{self.number}"


def blocks(root: Path, folders: tuple[str, ...] = ("docs/guide", "docs/runbooks")) -> list[Block]:
    found = []
    for folder in folders:
        for page in sorted((root / folder).glob("*.md")):
            for number, match in enumerate(BLOCK.finditer(page.read_text()), 1):
                text = match["text"]
                found.append(Block(str(page.relative_to(root)), number, match["marker"] or "", text))
    return found
