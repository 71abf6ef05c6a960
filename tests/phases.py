# SPDX-License-Identifier: Apache-2.0
"""Runs the phases of a tier (demo, check, test, soak), two at a time, and prints a table of their times.

Usage: tests/phases.py TIER [--only NAME …] [--cluster KUBECONFIG] [--yes] [-- ARGUMENTS OF ansible-playbook]

Exit status: 0 when every phase passed, 1 when one failed, 2 for wrong arguments.
The phases themselves are data, in tests/tiers.py.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tiers import CLUSTER_PHASES, TIERS, Phase

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "logs"
WORKERS = 2
HEARTBEAT = 60  # seconds between signs of life of a phase that is not shown live
TAIL = 80  # lines of a failed phase's log that are shown when it ends
# What the tools of the phases call a failure: pytest, ansible-playbook, molecule, make, compilers.
REASON = re.compile(r"^(FAILED|ERROR|E  )|fatal: |\[ERROR\]|CRITICAL|\berror:|: Error \d|failed=[1-9]")
REASONS = (6, 200)  # lines of each failed phase in the closing words, and characters of a line


@dataclass
class Run:
    phase: Phase
    log: Path
    process: subprocess.Popen[bytes]
    started: float
    pump: threading.Thread | None = None
    beat: float = 0.0


@dataclass
class Result:
    name: str
    state: str  # passed, failed, not run
    seconds: float = 0.0


@dataclass
class Board:
    """What has been done so far; the scheduler's only state."""

    start: float = field(default_factory=time.monotonic)
    results: dict[str, Result] = field(default_factory=dict)

    def say(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {text}", flush=True)


def ready(phases: list[Phase], results: dict[str, Result], running: list[Run]) -> list[Phase]:
    """The phases that can start now: everything they come after has passed."""
    busy = {run.phase.name for run in running}
    names = {phase.name for phase in phases}
    return [
        phase
        for phase in phases
        if phase.name not in results
        and phase.name not in busy
        and all(results.get(name, Result(name, "")).state == "passed" for name in phase.after if name in names)
    ]


def environment(phase: Phase) -> dict[str, str]:
    # A user's own cluster is never touched by accident: only the lab's kubeconfig is handed down, by lab/lab.
    keep = {k: v for k, v in os.environ.items() if phase.own_cluster or not k.startswith(("K8S_AUTH_", "KUBECONFIG"))}
    # The tools are those beside this Python, also where no virtual environment is active.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**keep, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **phase.env}


def log_of(phase: Phase, folder: Path) -> Path:
    return folder / f"{phase.name.replace(' ', '-').replace('/', '-')}.log"


def begin(phase: Phase, tier: str, board: Board) -> Run:
    log = log_of(phase, LOGS / tier)
    log.parent.mkdir(parents=True, exist_ok=True)
    board.say(f"start  {phase.name} ({phase.about})")
    target: int | object = subprocess.PIPE if phase.live else log.open("wb")
    process = subprocess.Popen(
        phase.argv,
        cwd=ROOT,
        env=environment(phase),
        stdin=None if phase.live else subprocess.DEVNULL,
        stdout=target,  # type: ignore[arg-type]
        stderr=subprocess.STDOUT,
    )
    run = Run(phase, log, process, time.monotonic())
    run.beat = run.started
    if phase.live:
        run.pump = threading.Thread(target=copy_output, args=(run,), daemon=True)
        run.pump.start()
    return run


def copy_output(run: Run) -> None:
    assert run.process.stdout is not None
    with run.log.open("wb") as log:
        for line in run.process.stdout:
            log.write(line)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def end(run: Run, board: Board) -> Result:
    if run.pump:
        run.pump.join()
    seconds = time.monotonic() - run.started
    state = "passed" if run.process.returncode == 0 else "failed"
    board.say(f"{state} {run.phase.name} in {seconds:.0f} s")
    if state == "failed" and not run.phase.live:
        lines = run.log.read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-TAIL:]))
        print(f"    (exit {run.process.returncode}; the whole log: {run.log})", flush=True)
    return Result(run.phase.name, state, seconds)


def heartbeat(run: Run, board: Board) -> None:
    if run.phase.live or time.monotonic() - run.beat < HEARTBEAT:
        return
    run.beat = time.monotonic()
    lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
    board.say(f"  …    {run.phase.name}: {lines[-1][:120] if lines else 'no output yet'}")


def execute(phases: list[Phase], tier: str, board: Board) -> None:
    """Runs all phases; after a failure nothing that stands on it starts, the rest goes on."""
    running: list[Run] = []
    try:
        while True:
            for phase in ready(phases, board.results, running)[: WORKERS - len(running)]:
                running.append(begin(phase, tier, board))
            if not running:
                return
            time.sleep(0.1)
            for run in list(running):
                if run.process.poll() is None:
                    heartbeat(run, board)
                else:
                    running.remove(run)
                    board.results[run.phase.name] = end(run, board)
    finally:
        for run in running:
            run.process.terminate()


def table(phases: list[Phase], board: Board) -> str:
    rows = [board.results.get(p.name, Result(p.name, "not run")) for p in phases]
    width = max(len(row.name) for row in rows)
    lines = [f"{'phase':<{width}}  {'result':<7}  {'seconds':>8}"]
    lines += [f"{row.name:<{width}}  {row.state:<7}  {row.seconds:>8.1f}" for row in rows]
    return "\n".join([*lines, f"{'all':<{width}}  {'':<7}  {time.monotonic() - board.start:>8.1f}"])


def reasons(text: str) -> list[str]:
    """The last lines that say why a phase failed: those that look like a reason, else the last ones."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    count, width = REASONS
    return [line[:width] for line in ([line for line in lines if REASON.search(line)] or lines)[-count:]]


def closing(phases: list[Phase], results: dict[str, Result], folder: Path) -> str:
    """Who reads only the end learns what failed, why, where the rest is, and what did not run."""
    out = []
    for phase in phases:
        state = results[phase.name].state if phase.name in results else "not run"
        if state == "not run":
            out.append(f"not run: {phase.name} (stands on {', '.join(phase.after)})")
        elif state == "failed":
            log = log_of(phase, folder)
            out.append(f"failed: {phase.name} (the whole log: {log})")
            out += [f"    {line}" for line in reasons(log.read_text(errors="replace"))]
    return "\n".join(out)


def measured(text: str) -> list[str]:
    """The figures that a phase's pytest told in a section of that name."""
    _before, _head, after = text.partition("= measured =")
    return [line for line in after.partition("\n=")[0].splitlines()[1:] if line.strip()]


def figures(phases: list[Phase], results: dict[str, Result], folder: Path) -> str:
    logs = [(phase, log_of(phase, folder)) for phase in phases if phase.name in results]
    told = [f"{phase.name}: {line}" for phase, log in logs for line in measured(log.read_text(errors="replace"))]
    return "\n".join(["measured", *told, ""]) if told else ""


def choose(tier: str, only: list[str], cluster: str | None, yes: bool, extra: list[str]) -> list[Phase]:
    phases = CLUSTER_PHASES(cluster, yes, extra) if cluster else TIERS[tier](extra)
    unknown = set(only) - {phase.name for phase in phases}
    if unknown:
        raise SystemExit(f"phases: no phase {sorted(unknown)} in {tier}; there are: {[p.name for p in phases]}")
    return [phase for phase in phases if not only or phase.name in only]


def main(argv: list[str]) -> int:
    cut = argv.index("--") if "--" in argv else len(argv)
    head, extra = argv[:cut], argv[cut + 1 :]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--only", nargs="+", default=[], help="only these phases")
    parser.add_argument("--cluster", help="kubeconfig of another cluster than the lab (demo only)")
    parser.add_argument("--yes", action="store_true", help="do not ask before another cluster is changed")
    args = parser.parse_args(head)
    if args.cluster and args.tier != "demo":
        parser.error(
            f"--cluster is for demo only, {args.tier} never leaves the lab; next: tests/phases.py demo --cluster …"
        )
    phases = choose(args.tier, args.only, args.cluster, args.yes, extra)
    board = Board()
    board.say(f"{args.tier}: {len(phases)} phases: {', '.join(phase.name for phase in phases)}")
    execute(phases, args.tier, board)
    print("\n" + figures(phases, board.results, LOGS / args.tier) + table(phases, board))
    passed = sum(result.state == "passed" for result in board.results.values())
    states = [row.state for row in board.results.values()]
    failed, waiting = states.count("failed"), len(phases) - len(states)
    why = closing(phases, board.results, LOGS / args.tier)
    print(f"\n{why}" if why else "")
    print(f"{passed} passed, {failed} failed" + (f", {waiting} not run" if waiting else ""), flush=True)
    return 0 if passed == len(phases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
