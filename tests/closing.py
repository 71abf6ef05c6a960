# SPDX-License-Identifier: Apache-2.0
"""The last words of tests/phases.py: who reads only the end learns what failed, why, and what did not run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiers import Phase

# What the tools of the phases call a failure: pytest, ansible-playbook, molecule, make, compilers.
REASON = re.compile(r"^(FAILED|ERROR|E  )|fatal: |\[ERROR\]|CRITICAL|\berror:|: Error \d|failed=[1-9]")
REASONS = (6, 200)  # lines of each failed phase in the closing words, and characters of a line
LAST_LINES, LAB_LINES = 20, 60  # of the log and of what the lab said, where a failed phase stands on the lab


@dataclass
class Result:
    name: str
    state: str  # passed, failed, stopped, not run
    seconds: float = 0.0


def log_of(phase: Phase, folder: Path) -> Path:
    return folder / f"{phase.name.replace(' ', '-').replace('/', '-')}.log"


def lab_log_of(log: Path) -> Path:
    """Where it stands what the lab said of itself when this phase had failed."""
    return log.with_suffix(".lab.log")


def words(phases: Sequence[Phase], results: Mapping[str, Result], folder: Path, seconds: float) -> str:
    states = [results[phase.name].state if phase.name in results else "not run" for phase in phases]
    counted = {state: states.count(state) for state in ("passed", "failed", "stopped", "not run")}
    told = [f"{count} {state}" for state, count in counted.items() if count or state in ("passed", "failed")]
    parts = [figures(phases, results, folder), table(phases, results, seconds), why(phases, results, folder)]
    return "\n".join([*filter(None, parts), ", ".join(told)])


def table(phases: Sequence[Phase], results: Mapping[str, Result], seconds: float) -> str:
    rows = [results.get(p.name, Result(p.name, "not run")) for p in phases]
    width = max(len(row.name) for row in rows)
    lines = [f"{'phase':<{width}}  {'result':<7}  {'seconds':>8}"]
    lines += [f"{row.name:<{width}}  {row.state:<7}  {row.seconds:>8.1f}" for row in rows]
    return "\n".join([*lines, f"{'all':<{width}}  {'':<7}  {seconds:>8.1f}", ""])


def reasons(text: str) -> list[str]:
    """The last lines that say why a phase failed: those that look like a reason, else the last ones."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    count, width = REASONS
    return [line[:width] for line in ([line for line in lines if REASON.search(line)] or lines)[-count:]]


def why(phases: Sequence[Phase], results: Mapping[str, Result], folder: Path) -> str:
    out = []
    for phase in phases:
        state = results[phase.name].state if phase.name in results else "not run"
        if state == "not run":
            out.append(f"not run: {phase.name}" + (f" (stands on {', '.join(phase.after)})" if phase.after else ""))
        elif state != "passed":
            log = log_of(phase, folder)
            text = log.read_text(errors="replace")
            out.append(f"{state}: {phase.name} (the whole log: {log})")
            out += [f"    {line}" for line in reasons(text)]
            out += on_lab(text, lab_log_of(log)) if phase.on_lab else []
    return "\n".join(out)


def on_lab(text: str, lab_log: Path) -> list[str]:
    """The end of the log, and what the lab said then."""
    width = REASONS[1]
    last = [f"    {line[:width]}" for line in text.splitlines()[-LAST_LINES:]]
    said = lab_log.read_text(errors="replace").splitlines() if lab_log.exists() else ["nothing"]
    lab = [f"    {line[:width]}" for line in said[:LAB_LINES]]
    if len(said) > LAB_LINES:
        lab.append(f"    … {len(said) - LAB_LINES} more lines: {lab_log}")
    return ["  the log ends so:", *last, "  the lab said then:", *lab]


def measured(text: str) -> list[str]:
    """The figures that a phase's pytest told in a section of that name."""
    _before, _head, after = text.partition("= measured =")
    return [line for line in after.partition("\n=")[0].splitlines()[1:] if line.strip()]


def figures(phases: Sequence[Phase], results: Mapping[str, Result], folder: Path) -> str:
    logs = [(phase, log_of(phase, folder)) for phase in phases if phase.name in results]
    told = [f"{phase.name}: {line}" for phase, log in logs for line in measured(log.read_text(errors="replace"))]
    return "\n".join(["measured", *told]) if told else ""
