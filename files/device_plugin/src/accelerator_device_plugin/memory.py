# SPDX-License-Identifier: Apache-2.0
"""What is known of devices, kept in a file over restarts of the plugin and of the node.

Losing it costs little (a device that flaps is trusted anew), so no trouble with it ever stops the plugin.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .files import write_whole
from .health import STATES, Record, printable

_log = logging.getLogger(__name__)
VERSION = 1
MOST = 4096  # devices; of more, those that were not seen for longest are forgotten
UNKNOWN_BOOT = "unknown"
_TEXT = 200  # characters of a reason or of evidence
_BIGGEST = 16 << 20  # bytes
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Damaged(Exception):
    """The content of a state file is not what we write; the text says where."""


def encode(records: Mapping[str, Record], now: float, boot: str) -> bytes:
    devices = {
        key: {
            "state": record.state,
            # As `decode` wants them: our own file is never called damaged.
            "reason": printable(record.reason[:_TEXT]),
            "evidence": printable(record.evidence[:_TEXT]),
            "faults": list(record.faults),
        }
        for key, record in list(records.items())[-MOST:]
    }
    page = {"version": VERSION, "boot": boot, "saved_at": now, "devices": devices}
    return json.dumps(page, indent=1, allow_nan=False).encode() + b"\n"


def decode(content: bytes, now: float, boot: str) -> dict[str, Record]:
    """The records, in this boot's time. After a reboot they are as old as they were when they were saved."""
    try:
        page = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not JSON: {error}") from error
    if not isinstance(page, dict) or page.get("version") != VERSION:
        seen = page.get("version") if isinstance(page, dict) else page
        raise Damaged(f"expected version {VERSION}, seen {_short(seen)}")
    saved_at = _number(page.get("saved_at"), "saved_at")
    shift = 0.0 if page.get("boot") == boot != UNKNOWN_BOOT else now - saved_at
    devices = page.get("devices")
    if not isinstance(devices, dict):
        raise Damaged("devices: expected a mapping")
    return {
        key: _moved(_record(f"devices.{_short(key)}", given, saved_at), shift, now)
        for key, given in list(devices.items())[-MOST:]
    }


class Memory:
    """The state file. `clock` never jumps within a boot, and `boot` names the boot."""

    def __init__(self, path: Path, clock: Callable[[], float], boot: str) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._kept: dict[str, Record] = {}
        self._complaint = ""

    def load(self) -> dict[str, Record]:
        try:
            with self._path.open("rb") as file:
                content = file.read(_BIGGEST)
            self._kept = decode(content, self._clock(), self._boot)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._complain(f"cannot read {self._path}: {error.strerror}; devices are judged anew")
        except Damaged as damage:
            self._set_aside(damage)
        return self._kept

    def save(self, records: Mapping[str, Record]) -> None:
        """Writes if there is something new. What cannot be written now is written by a later call."""
        kept = {key: lasting(record) for key, record in records.items()}
        if kept == self._kept:
            return
        try:
            write_whole(self._path, encode(kept, self._clock(), self._boot))
        except OSError as error:
            self._complain(
                f"cannot write {self._path}: {error.strerror}; going on without it: "
                f"a restart now forgets faults; see `df` and `mount` of {self._path.parent} on the node"
            )
            return
        if self._complaint:
            _log.info("%s: written again", self._path)
        self._kept, self._complaint = kept, ""

    def _set_aside(self, damage: Damaged) -> None:
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns():x}")
        try:
            for old in self._path.parent.glob(f"{self._path.name}.damaged-*"):
                old.unlink()  # the newest tells enough, and they must not fill the disk
            self._path.replace(aside)
        except OSError as error:
            self._complain(f"{self._path} is damaged: {damage}; cannot set it aside: {error.strerror}")
            return
        _log.warning(
            "%s is damaged: %s; set aside as %s, devices are judged anew", self._path, damage, aside.name
        )

    def _complain(self, complaint: str) -> None:
        """Once, not at each change."""
        if complaint != self._complaint:
            _log.warning("%s", complaint)
        self._complaint = complaint


def lasting(record: Record) -> Record:
    """What is worth a write: not that the device was heard of again."""
    return Record(record.state, record.reason, record.evidence, faults=record.faults)


def this_boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return UNKNOWN_BOOT


def _record(where: str, given: Any, saved_at: float) -> Record:
    if not isinstance(given, dict) or given.get("state") not in STATES:
        raise Damaged(f"{where}.state: expected one of {', '.join(STATES)}")
    for name in ("reason", "evidence"):
        text = given.get(name)
        if not isinstance(text, str) or not text.isprintable() or len(text) > _TEXT:
            raise Damaged(f"{where}.{name}: expected a short text")
    if not isinstance(given.get("faults"), list):
        raise Damaged(f"{where}.faults: expected a list")
    faults = [_number(at, f"{where}.faults") for at in given["faults"]]
    if faults != sorted(faults) or (faults and faults[-1] > saved_at):
        raise Damaged(f"{where}.faults: expected times in order, none after saved_at")
    return Record(given["state"], given["reason"], given["evidence"], faults=tuple(faults))


def _moved(record: Record, shift: float, now: float) -> Record:
    return replace(record, faults=tuple(min(at + shift, now) for at in record.faults))


def _number(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return float(value)
        except OverflowError:
            pass
    raise Damaged(f"{where}: expected a number, seen {_short(value)}")


def _short(value: object) -> str:
    """For a log line: whatever it is, it is one short line of ASCII."""
    return ascii(value)[:_TEXT]
