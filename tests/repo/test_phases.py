# SPDX-License-Identifier: Apache-2.0
"""The runner of the tiers: a failure is red, what stands on it does not run, the user's cluster is not seen."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOUND = 120  # seconds, for what takes one on a machine with nothing else to do
sys.path.insert(0, str(ROOT / "tests"))

import closing  # noqa: E402
import phases as runner  # noqa: E402
from tiers import TIERS, Phase  # noqa: E402


@pytest.fixture(autouse=True)
def _logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "LOGS", tmp_path)


def run(*phases: Phase) -> dict[str, str]:
    board = runner.Board()
    runner.execute(list(phases), "t", board)
    return {phase.name: board.results[phase.name].state for phase in phases if phase.name in board.results}


def test_a_failure_stops_what_stands_on_it_and_nothing_else() -> None:
    done = run(Phase("a", ["false"]), Phase("b", ["true"], after=("a",)), Phase("c", ["true"]))
    assert done == {"a": "failed", "c": "passed"}


def test_a_failed_phase_shows_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    run(Phase("loud", ["sh", "-c", "echo the reason; exit 3"]))
    assert "the reason" in capsys.readouterr().out


def test_the_users_cluster_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/user/production")
    monkeypatch.setenv("K8S_AUTH_HOST", "https://production")
    assert run(Phase("a", ["sh", "-c", 'test -z "$KUBECONFIG$K8S_AUTH_HOST"'])) == {"a": "passed"}
    assert run(Phase("b", ["sh", "-c", 'test -n "$KUBECONFIG"'], own_cluster=True)) == {"b": "passed"}


def test_the_question_about_another_cluster_is_seen_and_answered(tmp_path: Path) -> None:
    """On a terminal; ansible-playbook is played by a script, which does nothing."""
    play, kubeconfig = tmp_path / "ansible-playbook", tmp_path / "kubeconfig"
    play.write_text("#!/bin/sh\necho would run $1\n")
    play.chmod(0o755)
    kubeconfig.touch()
    code = f"""
import dataclasses, pathlib, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import phases
phases.LOGS = pathlib.Path({str(tmp_path)!r})
[phase] = phases.CLUSTER_PHASES({str(kubeconfig)!r}, False, [])
path = {f"{tmp_path}:{os.environ['PATH']}"!r}
phases.execute([dataclasses.replace(phase, env={{"PATH": path}})], "t", phases.Board())
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        asked = read_until(ours, b"[y/N]")
        os.write(ours, b"n\n")
        ended = read_until(ours, b"failed site.yml")
        assert process.wait(timeout=BOUND) == 0
    finally:
        os.close(ours)  # whoever still reads from the terminal ends with it
        process.kill()
        process.wait()
    assert b"would run playbooks/plan.yml" in asked
    assert b"nothing was changed" in ended
    assert b"playbooks/site.yml" not in asked + ended


def read_until(terminal: int, words: bytes, seconds: int = BOUND) -> bytes:
    seen, end = b"", time.monotonic() + seconds
    while words not in seen:
        readable, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert readable, f"no {words!r} within {seconds} s; seen {seen!r}"
        seen += os.read(terminal, 4096)
    return seen


@pytest.mark.parametrize("tier", sorted(set(runner.TIERS) - {"demo"}))
def test_another_cluster_is_for_the_demo_only(
    tier: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "execute", lambda *_: pytest.fail("something was run"))
    with pytest.raises(SystemExit) as ended:
        runner.main([tier, "--cluster", "/home/user/production", "--yes"])
    assert ended.value.code == 2
    assert "--cluster is for demo only" in capsys.readouterr().err


def test_the_tools_are_those_beside_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a fresh shell, as CONTRIBUTING.md has it: .venv/bin/python tests/phases.py …"""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert run(Phase("a", ["sh", "-c", f'test "$PATH" = {Path(sys.executable).parent}:/usr/bin:/bin'])) == {
        "a": "passed"
    }
    assert run(Phase("b", ["ansible-lint", "--version"])) == {"b": "passed"}


def test_the_last_lines_say_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """CI and a terminal show the end; the reason stands there, also when a later phase printed much."""
    mol = ["sh", "-c", "echo 'fatal: [localhost]: FAILED! => the reason'; seq 300; exit 2"]
    tier = [Phase("mol", mol), Phase("stands on it", ["true"], after=("mol",)), Phase("late", ["seq", "100"])]
    monkeypatch.setitem(runner.TIERS, "check", lambda extra: tier)
    assert runner.main(["check"]) == 1
    end = capsys.readouterr().out.splitlines()[-5:]
    assert end[1].startswith("failed: mol (the whole log: ")
    assert end[2:] == [
        "    fatal: [localhost]: FAILED! => the reason",
        "not run: stands on it (stands on mol)",
        "1 passed, 1 failed, 1 not run",
    ]


def test_what_was_measured_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = "a.py .\n==== measured ====\ntest_reboot: back in 40 s\n==== 1 passed in 50 s ====\n"
    monkeypatch.setitem(runner.TIERS, "check", lambda extra: [Phase("lab", ["printf", "%s", text])])
    assert runner.main(["check"]) == 0
    assert "\nmeasured\nlab: test_reboot: back in 40 s\nphase " in capsys.readouterr().out


LAB = ["printf", "%s\\n", *(f"line {number}" for number in range(100))]


def test_a_failure_on_the_lab_ends_with_the_log_and_what_the_lab_said_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tier = [Phase("site", ["sh", "-c", "echo begin; seq 50; exit 1"], on_lab=True), Phase("late", ["seq", "100"])]
    monkeypatch.setitem(runner.TIERS, "test", lambda extra: tier)
    monkeypatch.setattr(runner, "LAB_SAYS", LAB)
    assert runner.main(["test"]) == 1
    said = capsys.readouterr().out.partition("\nfailed: site")[2].splitlines()
    log, lab = said.index("  the log ends so:"), said.index("  the lab said then:")
    assert said[log + 1 : lab] == [f"    {number}" for number in range(31, 51)]
    assert said[lab + 1 : -2] == [f"    line {number}" for number in range(60)]
    assert said[-2].startswith("    … 40 more lines: ")
    assert said[-1] == "1 passed, 1 failed"


def test_a_lab_that_does_not_answer_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "LAB_SAYS", ["sleep", "600"])
    monkeypatch.setattr(runner, "LAB_SAYS_SECONDS", 0.1)
    assert run(Phase("site", ["false"], on_lab=True)) == {"site": "failed"}
    assert "the lab cannot be asked" in (tmp_path / "t" / "site.lab.log").read_text()


def test_told_to_end_it_ends_all_and_says_what_was_running(tmp_path: Path) -> None:
    """As a time limit does it: the signal comes twice. A grandchild goes too."""
    waits = 'trap "echo was here" INT; sleep 600 & echo $! > "$1"; wait; sleep 600'
    code = f"""
import pathlib, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import phases
from tiers import Phase
phases.LOGS = pathlib.Path({str(tmp_path)!r})
phases.STOP_SECONDS = 10
phases.TIERS["test"] = lambda extra: [
    Phase("hangs", ["sh", "-c", {waits!r}, "sh", {str(tmp_path / "pid")!r}]),
    Phase("next", ["true"], after=("hangs",)),
]
phases.end_when_told()
sys.exit(phases.main(["test"]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + BOUND
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < end
        time.sleep(0.05)
    child = int((tmp_path / "pid").read_text())
    process.terminate()
    process.terminate()
    out, _ = process.communicate(timeout=BOUND)
    assert process.returncode == 1
    assert "told to end, with hangs running" in out
    assert out.splitlines()[-4:] == [
        f"stopped: hangs (the whole log: {tmp_path}/test/hangs.log)",
        "    was here",
        "not run: next (stands on hangs)",
        "0 passed, 0 failed, 1 stopped, 1 not run",
    ]
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "\nState:\tZ" in status.read_text()


def test_a_phase_that_hangs_is_ended_and_named_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    polite = ["sh", "-c", "trap 'exit 0' INT; while :; do sleep 0.1; done"]
    done = run(Phase("hung", polite, minutes=0.01), Phase("on it", ["true"], after=("hung",)), Phase("other", ["true"]))
    assert done == {"hung": "failed", "other": "passed"}
    assert "hung hangs: expected an end within 0.01 min" in capsys.readouterr().out


def test_who_holds_the_output_of_a_phase_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PUMP_SECONDS", 0.2)
    begin = time.monotonic()
    assert run(Phase("live", ["sh", "-c", "setsid sleep 30 & exit 0"], live=True)) == {"live": "passed"}
    assert time.monotonic() - begin < 25


def test_a_phase_that_gives_way_is_nice_in_a_session_of_its_own(tmp_path: Path) -> None:
    script = ["sh", "-c", "sleep 1; nice; cat /proc/self/autogroup 2> /dev/null || echo nice 5"]
    run(Phase("gives way", script, gives_way=True), Phase("does not", ["nice"]))
    said, usual = ((tmp_path / "t" / f"{name}.log").read_text().split() for name in ("gives-way", "does-not"))
    assert int(said[0]) == min(19, int(usual[0]) + runner.NICE)
    assert said[-1] == str(runner.NICE)


def test_tests_begin_with_a_new_lab_and_a_demo_keeps_what_is_there() -> None:
    for name in ("test", "soak"):
        assert "lab/lab down && exec lab/lab up" in TIERS[name]([])[0].argv, name
    assert not [phase for phase in TIERS["demo"]([]) if "down" in " ".join(phase.argv)]


def test_a_phase_on_the_lab_stands_on_it_and_does_not_give_way() -> None:
    for name, tier in TIERS.items():
        for phase in tier([]):
            uses = any("lab/lab" in part or "tests/lab" in part or "molecule" in part for part in phase.argv)
            assert phase.on_lab is (uses or phase.name in {"ansible-core 2.18", "kernel module bench"}), (
                name,
                phase.name,
            )
            assert not (phase.on_lab and phase.gives_way), (name, phase.name)


def test_a_reason_without_a_known_word_is_the_end_of_the_log() -> None:
    assert closing.reasons("one\n\n" + "x" * 300 + "\nlast\n") == ["one", "x" * 200, "last"]


def test_unknown_phase_is_named() -> None:
    with pytest.raises(SystemExit, match="nosuch"):
        runner.choose("check", ["nosuch"], None, False, [])
