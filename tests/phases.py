# SPDX-License-Identifier: Apache-2.0
"""Runs the phases of a tier (demo, check, test, soak), two at a time, and prints a table of their times.

Usage: tests/phases.py TIER [--only NAME …] [--cluster KUBECONFIG] [--yes] [-- ARGUMENTS OF ansible-playbook]

Exit status: 0 when every phase passed, 1 when one failed or was stopped, 2 for wrong arguments.
The phases themselves are data, in tests/tiers.py. Told to end (SIGTERM, as by a time limit, or Ctrl-C), it ends them
and still says at the end what failed and what was running.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import closing
from closing import Result
from tiers import CLUSTER_PHASES, LAB_SAYS, TIERS, Phase

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "logs"
WORKERS = 2
HEARTBEAT = 60  # seconds between signs of life of a phase that is not shown live
TAIL = 80  # lines of a failed phase's log that are shown when it ends
NICE = 5  # of a phase that gives way: about a quarter of what the lab gets where both want the processor
LAB_SAYS_SECONDS = 120
STOP_SECONDS = 20  # for a phase to end that is told to; then it is killed
PUMP_SECONDS = 10  # for the last output of a phase that has ended; who still holds it open is not waited for


@dataclass
class Run:
    phase: Phase
    log: Path
    process: subprocess.Popen[bytes]
    started: float
    pump: threading.Thread | None = None
    beat: float = 0.0


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


def begin(phase: Phase, tier: str, board: Board) -> Run:
    log = closing.log_of(phase, LOGS / tier)
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
        # A session can be ended whole. A phase that is shown live stays in ours: it may ask a question on the terminal.
        start_new_session=not phase.live,
    )
    if phase.gives_way:
        give_way(process.pid)
    run = Run(phase, log, process, time.monotonic())
    run.beat = run.started
    if phase.live:
        run.pump = threading.Thread(target=copy_output, args=(run,), daemon=True)
        run.pump.start()
    return run


def give_way(pid: int) -> None:
    """By both ways in which Linux shares the processor: nice values and, where autogroup is on, sessions' ones."""
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))
    except OSError:
        pass  # this kernel has no autogroup, or the phase has ended already


def copy_output(run: Run) -> None:
    assert run.process.stdout is not None
    with run.log.open("wb") as log:
        for line in run.process.stdout:
            log.write(line)
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()


def end(run: Run, board: Board, state: str = "") -> Result:
    if run.pump:
        run.pump.join(PUMP_SECONDS)
    seconds = time.monotonic() - run.started
    state = state or ("passed" if run.process.returncode == 0 else "failed")
    board.say(f"{state} {run.phase.name} in {seconds:.0f} s")
    if state != "passed" and not run.phase.live:
        lines = run.log.read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-TAIL:]))
        print(f"    (exit {run.process.returncode}; the whole log: {run.log})", flush=True)
    if state != "passed" and run.phase.on_lab:
        closing.lab_log_of(run.log).write_text(ask_lab())
    return Result(run.phase.name, state, seconds)


def ask_lab() -> str:
    """What the lab says of itself, now: later it may be another."""
    try:
        done = subprocess.run(
            LAB_SAYS,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LAB_SAYS_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the lab cannot be asked: {error}"
    return done.stdout.decode(errors="replace")


def stop(run: Run) -> None:
    """Ends a phase with all that it started in its session. Interrupted, pytest and Ansible say where they were."""

    def tell(number: signal.Signals) -> None:
        try:
            run.process.send_signal(number) if run.phase.live else os.killpg(run.process.pid, number)
        except ProcessLookupError:
            pass

    for number in (signal.SIGINT, signal.SIGTERM):
        if run.process.poll() is None:
            tell(number)
            try:
                run.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    tell(signal.SIGKILL)  # who is left, also when the first of them has ended
    run.process.wait()


def heartbeat(run: Run, board: Board) -> None:
    if run.phase.live or time.monotonic() - run.beat < HEARTBEAT:
        return
    run.beat = time.monotonic()
    lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
    board.say(f"  …    {run.phase.name}: {lines[-1][:120] if lines else 'no output yet'}")


def overdue(run: Run) -> bool:
    return time.monotonic() - run.started > run.phase.minutes * 60


def hang(run: Run, board: Board) -> str:
    """Ends a phase whose time is up, so that it is named and the others go on. Its own exit status does not count."""
    board.say(f"{run.phase.name} hangs: expected an end within {run.phase.minutes:g} min; it is ended now")
    stop(run)
    return "failed"


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
                if run.process.poll() is None and not overdue(run):
                    heartbeat(run, board)
                    continue
                state = hang(run, board) if run.process.poll() is None else ""
                running.remove(run)
                board.results[run.phase.name] = end(run, board, state)
    except KeyboardInterrupt:
        board.say(f"told to end, with {', '.join(run.phase.name for run in running) or 'nothing'} running")
        for run in running:
            stop(run)
            board.results[run.phase.name] = end(run, board, "stopped")
    finally:
        for run in running:
            if run.process.poll() is None:
                stop(run)


def end_when_told() -> None:
    """A first signal ends the run, with its closing words; make and `timeout` send another, which changes nothing."""

    def interrupt(*_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


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
    print("\n" + closing.words(phases, board.results, LOGS / args.tier, time.monotonic() - board.start), flush=True)
    return 0 if all(board.results.get(p.name, Result(p.name, "")).state == "passed" for p in phases) else 1


if __name__ == "__main__":
    end_when_told()
    sys.exit(main(sys.argv[1:]))
