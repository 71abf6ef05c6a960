# SPDX-License-Identifier: Apache-2.0
"""What the HTML reports are made of: a page that loads nothing, tables, pictures. Pure.

PRIVATE. All that comes from a cluster goes through escape(): a node's condition or a device's reason is text that
somebody else wrote. Colours never stand alone, the word is beside them.
"""

from __future__ import annotations

import typing as t
from html import escape as _escape

STYLE = """
:root { color-scheme: light dark; --good: #2e7d32; --bad: #c62828; --odd: #b26a00; --none: #8a8a8a; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 2rem; width: 100%; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td { overflow-wrap: break-word; }
code { font-size: .92em; }
.good { color: var(--good); } .bad { color: var(--bad); } .odd { color: var(--odd); } .none { color: var(--none); }
rect.good { fill: var(--good); } rect.bad { fill: var(--bad); } rect.odd { fill: var(--odd); }
rect.none { fill: #8884; }
svg { display: block; max-width: 100%; }
"""
# Verdicts and states -> class. What is not listed is bad.
CLASSES = {"ok": "good", "unschedulable": "none", "absent": "none", "unknown": "odd", "degraded": "odd", "": "none"}
# A Content-Security-Policy of the page's own: even what escaped wrongly could load or run nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def escape(value: t.Any) -> str:
    return _escape("" if value is None else str(value), quote=True)


def shade(word: t.Any) -> str:
    return CLASSES.get(str(word), "bad")


def page(title: str, word: str, good: bool, said: str, parts: t.Sequence[str]) -> str:
    """word: how it is, in two or three words. said: one line below that."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}: {escape(word)}</title><style>{STYLE}</style></head><body>",
            f'<h1>{escape(title)}: <span class="{"good" if good else "bad"}">{escape(word)}</span></h1>',
            f"<p>{escape(said)}</p>",
            *parts,
            "</body></html>",
            "",
        ]
    )


def svg(width: int, height: int, parts: t.Sequence[str], title: str = "") -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} role="img">{title}{"".join(parts)}</svg>'


def table(heads: t.Sequence[t.Tuple[str, str]], rows: t.Sequence[str]) -> str:
    head = "".join(f'<th class="{kind}">{name}</th>' if kind else f"<th>{name}</th>" for name, kind in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


__all__ = ("POLICY", "STYLE", "escape", "page", "shade", "svg", "table")
