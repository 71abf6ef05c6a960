# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Host, Running
from fake_kubelet import FakeKubelet, until
from hypothesis import given
from hypothesis import strategies as st

from accelerator_device_plugin import memory
from accelerator_device_plugin.health import HEALTHY, STATES, SUSPECT, UNHEALTHY, Record
from accelerator_device_plugin.memory import Damaged, Memory, decode, encode

Start = Callable[..., Running]
RECORDS = {
    "id:0": Record(HEALTHY, "Present"),
    "serial:A-17": Record(UNHEALTHY, "Flapping", "4 faults", faults=(90.0, 95.5)),
}


def test_what_is_written_is_read_in_the_same_boot() -> None:
    assert decode(encode(RECORDS, 100.0, "boot-1"), 150.0, "boot-1") == RECORDS


def test_after_a_reboot_faults_are_as_old_as_when_they_were_saved() -> None:
    found = decode(encode(RECORDS, 100.0, "boot-1"), 3.0, "boot-2")
    assert found["serial:A-17"].faults == (-7.0, -1.5)
    unknown = decode(encode(RECORDS, 100.0, memory.UNKNOWN_BOOT), 3.0, memory.UNKNOWN_BOOT)
    assert unknown == found, "two boots that nobody can name are not the same"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "expected version 1, seen 2"),
        ({"devices": []}, "devices: expected a mapping"),
        ({"saved_at": "now"}, "saved_at: expected a number, seen 'now'"),
        ({"saved_at": 10**400}, "saved_at: expected a number"),
        ({"saved_at": True}, "saved_at: expected a number, seen True"),
        ({"devices": {"id:0": {"state": "Fine"}}}, "devices.'id:0'.state: expected one of Healthy"),
        ({"saved_at": 1.0}, "devices.'serial:A-17'.faults: expected times in order, none after saved_at"),
    ],
)
def test_damage_is_named(change: dict[str, object], says: str) -> None:
    page = json.loads(encode(RECORDS, 100.0, "boot-1")) | change
    with pytest.raises(Damaged) as damage:
        decode(json.dumps(page).encode(), 100.0, "boot-1")
    assert says in str(damage.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
DEVICE = st.fixed_dictionaries(
    {
        "state": st.sampled_from(STATES) | JSON,
        "reason": st.text(max_size=5) | JSON,
        "evidence": st.text(max_size=5) | JSON,
        "faults": st.lists(st.floats() | JSON, max_size=3) | JSON,
    }
)
PAGE = st.fixed_dictionaries(
    {
        "version": st.just(1) | JSON,
        "boot": st.sampled_from(["boot-1", "boot-2"]) | JSON,
        "saved_at": st.floats() | JSON,
        "devices": st.dictionaries(st.text(max_size=5), DEVICE | JSON, max_size=3) | JSON,
    }
)


@given(st.binary(max_size=200) | PAGE.map(lambda page: json.dumps(page).encode()))
def test_any_content_is_read_or_called_damaged(content: bytes) -> None:
    try:
        records = decode(content, 100.0, "boot-1")
    except Damaged:
        return
    for record in records.values():
        assert record.state in STATES
        assert all(at <= 100.0 for at in record.faults)
    assert decode(encode(records, 100.0, "boot-1"), 100.0, "boot-1").keys() == records.keys()


@given(st.integers(0, 400), st.integers(0, 255))
def test_no_single_wrong_byte_gives_a_wrong_time_or_a_crash(where: int, byte: int) -> None:
    content = bytearray(encode(RECORDS, 100.0, "boot-1"))
    content[where % len(content)] = byte
    try:
        decode(bytes(content), 100.0, "boot-1")
    except Damaged:
        pass


def memory_in(folder: Path) -> Memory:
    return Memory(folder / "state.json", lambda: 100.0, "boot-1")


def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for content in ("{", "[]"):
        (tmp_path / "state.json").write_text(content)
        assert memory_in(tmp_path).load() == {}
    aside = [path for path in tmp_path.iterdir() if ".damaged-" in path.name]
    assert [path.read_text() for path in aside] == ["[]"], "only the newest is kept"
    assert (
        "state.json is damaged: expected version 1, seen []; set aside as state.json.damaged-" in caplog.text
    )
    memory_in(tmp_path).save(RECORDS)
    assert memory_in(tmp_path).load() == RECORDS


def test_only_news_is_written(tmp_path: Path) -> None:
    kept = memory_in(tmp_path)
    kept.save(RECORDS)
    first = (tmp_path / "state.json").stat().st_ino
    kept.save({key: Record(**{**vars(record), "heard_at": 99.0}) for key, record in RECORDS.items()})
    assert (tmp_path / "state.json").stat().st_ino == first
    kept.save({"id:0": Record(SUSPECT, "ProbeFailed")})
    assert (tmp_path / "state.json").stat().st_ino != first
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_said_once_and_tried_again(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    kept = memory_in(tmp_path)
    kept.save({"id:0": Record(HEALTHY, "Present")})

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            kept.save(RECORDS)
    assert caplog.text.count(f"state.json: {os.strerror(number)}; going on without it") == 1
    assert memory_in(tmp_path).load() == {"id:0": Record(HEALTHY, "Present")}, "the old one is whole"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    kept.save(RECORDS)
    assert memory_in(tmp_path).load() == RECORDS
    assert caplog.text.count("written again") == 1


def test_a_restarted_plugin_remembers_who_flaps(
    host: Host, kubelet: FakeKubelet, start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    host.add(0)
    host.say(0, "ok")
    first = start(health_file="health", state_file=file)
    for _ in range(4):
        host.say(0, "failed")
        until(lambda: kubelet.devices() == {"0": UNHEALTHY}, "the fault")
        if _ < 3:
            host.say(0, "ok")
            until(lambda: kubelet.devices() == {"0": HEALTHY}, "its end")
    assert first.stop() == 0
    host.say(0, "ok")
    second = start(health_file="health", state_file=file)
    until(second.app.kubelet.registered, "the second plugin")
    record = second.app.inventory.snapshot()[1]["0"].record
    assert (record.state, record.reason, len(record.faults)) == (UNHEALTHY, "Flapping", 4)
    assert kubelet.devices() == {"0": UNHEALTHY}
