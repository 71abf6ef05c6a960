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
sys.path.insert(0, str(ROOT / "tests"))

import phases as runner  # noqa: E402
from tiers import Phase  # noqa: E402


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
        assert process.wait(timeout=20) == 0
    finally:
        os.close(ours)  # whoever still reads from the terminal ends with it
        process.kill()
        process.wait()
    assert b"would run playbooks/plan.yml" in asked
    assert b"nothing was changed" in ended
    assert b"playbooks/site.yml" not in asked + ended


def read_until(terminal: int, words: bytes, seconds: int = 20) -> bytes:
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


def test_a_reason_without_a_known_word_is_the_end_of_the_log() -> None:
    assert runner.reasons("one\n\n" + "x" * 300 + "\nlast\n") == ["one", "x" * 200, "last"]


def test_unknown_phase_is_named() -> None:
    with pytest.raises(SystemExit, match="nosuch"):
        runner.choose("check", ["nosuch"], None, False, [])
