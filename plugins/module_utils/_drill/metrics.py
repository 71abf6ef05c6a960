# SPDX-License-Identifier: Apache-2.0
"""Whether an alert's expression is true of what was scraped. Pure. PRIVATE to this collection.

Only for expressions of the form `name{label="value", …} > number`, as the alerts have that a drill asks for: there need
be no Prometheus in a cluster to hold one. What Prometheus makes of all alerts, promtool tests.
"""

from __future__ import annotations

import operator
import re
import typing as t

Sample = t.Tuple[str, t.Dict[str, str], float]

_LABEL = r'[a-zA-Z_]\w*="(?:[^"\\]|\\.)*"'
_LABELS = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_SAMPLE = re.compile(rf"([a-zA-Z_:][\w:]*)(?:\{{((?:{_LABEL},?)*)\}})?[ \t]+(\S+)(?:[ \t]+-?\d+)?")
_EXPRESSION = re.compile(rf"([a-zA-Z_:][\w:]*)\{{((?:{_LABEL},?\s*)*)\}}\s*(==|!=|>=|<=|>|<)\s*(-?[0-9.]+)")
_COMPARE: t.Dict[str, t.Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_ESCAPED = {"n": "\n"}


def samples(text: str) -> t.List[Sample]:
    """The samples of a page in Prometheus' text format; lines that are none are left out."""
    found = []
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line.strip())
        number = _number(match[3]) if match else None
        if match and number is not None:
            found.append((match[1], _labels(match[2] or ""), number))
    return found


def true_of(expression: str, scraped: t.Iterable[Sample], target: t.Mapping[str, str]) -> bool:
    """target: the labels that Prometheus adds to what it scrapes there. Raises ValueError for another form."""
    match = _EXPRESSION.fullmatch(expression.strip())
    if not match:
        raise ValueError(f'expected an expression like name{{label="value"}} > 0, seen {expression}')
    name, wanted, compare, bound = match[1], _labels(match[2]), _COMPARE[match[3]], float(match[4])
    return any(
        one == name and wanted.items() <= {**labels, **target}.items() and compare(value, bound)
        for one, labels, value in scraped
    )


def _labels(text: str) -> t.Dict[str, str]:
    return {
        key: re.sub(r"\\(.)", lambda m: _ESCAPED.get(m[1], m[1]), value, flags=re.S)
        for key, value in _LABELS.findall(text)
    }


def _number(text: str) -> t.Optional[float]:
    try:
        return float(text)
    except ValueError:
        return None


__all__ = ("Sample", "samples", "true_of")
