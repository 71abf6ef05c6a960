# SPDX-License-Identifier: Apache-2.0
"""What `up` waits for besides its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerator_lab import cluster, processes, stand_ins
from accelerator_lab.errors import LabError
from accelerator_lab.instance import Instance


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str | LabError) -> Iterator[str | LabError]:
    """What kubectl says, one after the other."""
    left = iter(answers)

    def kubectl(*_: object) -> str:
        said = next(left)
        if isinstance(said, LabError):
            raise said
        return said

    monkeypatch.setattr(cluster, "kubectl", kubectl)
    monkeypatch.setattr(stand_ins.time, "sleep", lambda _: None)
    monkeypatch.setattr(processes, "ended", lambda *_: False)
    return left


def test_the_stand_ins_play_when_their_catalog_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind is not served at first, then the object has no status."""
    left = answer(monkeypatch, LabError("the server doesn't have a resource type"), "", "READY", "never asked")
    stand_ins.wait_ready(Instance(tmp_path))
    assert list(left) == ["never asked"]


def test_stand_ins_that_do_not_play_show_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "CONNECTING")
    log = processes.log_file(tmp_path, stand_ins.NAME)
    log.parent.mkdir()
    log.write_text("WARNING start: refused\n")
    monkeypatch.setattr(processes, "ended", lambda *_: True)
    with pytest.raises(LabError, match=r"not READY: nothing yet(.|\n)*WARNING start: refused"):
        stand_ins.wait_ready(Instance(tmp_path))
