# SPDX-License-Identifier: Apache-2.0
"""ptemplatectl: look at ptemplate devices and change what they hold, in a pod or on a node."""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from . import holders
from .device import Device, DeviceError, allocated

PARAMETERS = Path("/sys/module/ptemplate_char_dev/parameters")


@dataclass(frozen=True)
class Host:
    """What the tool looks at; tests give their own."""

    devices: list[Device]
    parameters: Path = PARAMETERS

    def find(self, name: str) -> Device:
        """By path, name or number."""
        for device in self.devices:
            if name in (device.path, device.name, device.name.rpartition("-")[2]):
                return device
        known = ", ".join(device.name for device in self.devices) or "none"
        raise DeviceError(
            f"{name}: no such device (there are: {known}); in a pod there is only what it asked for in "
            "resources.limits, on a node see `lsmod | grep ptemplate`"
        )

    def capacity(self) -> int | None:
        """Bytes that each device can hold, where the driver tells."""
        try:
            return int((self.parameters / "buffersize").read_text())
        except (OSError, ValueError):
            return None


Answer = tuple[object, str | bytes]  # for --json, and for people or a pipe


def do_list(host: Host, given: argparse.Namespace) -> Answer:
    rows = [{"device": device.name, "path": device.path} for device in host.devices]
    return rows, "".join(f"{row['device']:<16} {row['path']}\n" for row in rows) or "no devices\n"


def do_stats(host: Host, given: argparse.Namespace) -> Answer:
    capacity = host.capacity()
    devices = [host.find(name) for name in given.device] or host.devices
    rows = [{"device": device.name, "bytes": device.size(), "capacity": capacity} for device in devices]
    head = f"{'DEVICE':<16} {'BYTES':>8} {'CAPACITY':>8}\n"
    unknown = "?" if capacity is None else capacity
    return rows, head + "".join(f"{row['device']:<16} {row['bytes']:>8} {unknown:>8}\n" for row in rows)


def do_read(host: Host, given: argparse.Namespace) -> Answer:
    device = host.find(given.device)
    data = device.read(given.count if given.count is not None else device.size(), given.offset)
    text = data.decode(errors="replace")
    return {"device": device.name, "offset": given.offset, "bytes": len(data), "text": text}, data


def do_write(host: Host, given: argparse.Namespace) -> Answer:
    device = host.find(given.device)
    data = sys.stdin.buffer.read() if given.text == "-" else os.fsencode(given.text)
    wrote = device.write(data, given.offset)
    if wrote < len(data):
        raise DeviceError(
            f"{device.name} ({device.path}): wrote {wrote} of {len(data)} B at offset {given.offset or 0}, "
            f"then it was full (capacity: {host.capacity() or 'unknown'} B); "
            f"see `ptemplatectl stats {device.name}`"
        )
    return {
        "device": device.name,
        "offset": given.offset or 0,
        "bytes": wrote,
    }, f"{device.name}: wrote {wrote} B\n"


def do_holders(host: Host, given: argparse.Namespace) -> Answer:
    found = holders.find(Path(given.root), given.devices.lstrip("/"), not given.open_files)

    def line(holder: holders.Holder) -> str:
        since = datetime.fromtimestamp(holder.since, timezone.utc).isoformat() if holder.since else ""
        process = f"process {holder.process} ({holder.command})"
        return f"{holder.device}: {holder.who}, {process}{', since ' if since else ''}{since}\n"

    return [asdict(holder) for holder in found], "".join(map(line, found)) or "nobody holds a device\n"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ptemplatectl", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[Host, argparse.Namespace], Answer], help: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        return added

    command("list", do_list, "the devices that can be used here")
    stats = command("stats", do_stats, "how much each device holds, and can hold")
    stats.add_argument("device", nargs="*", help="path, name or number; default: all")
    read = command("read", do_read, "print what a device holds")
    read.add_argument("device", help="path, name or number")
    read.add_argument("--offset", type=_natural, default=0)
    read.add_argument("--count", type=_natural, help="bytes; default: all")
    write = command("write", do_write, "replace what a device holds, or with --offset a part of it")
    write.add_argument("device", help="path, name or number")
    write.add_argument("text", help="-: standard input")
    write.add_argument("--offset", type=_natural)
    who = command("holders", do_holders, "which pods hold devices open: on a node, as root")
    who.add_argument("--root", default="/", help="where the node's file system is; default: /")
    who.add_argument("--devices", default="/dev/ptemplate-*", help="glob of another driver's devices")
    who.add_argument(
        "--open-files", action="store_true", help="look through the processes even if the driver has a list"
    )
    return parser.parse_args(arguments)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of bytes, got {text!r}")
    return int(text)


def main(arguments: list[str], host: Host | None = None) -> int:
    given = parse(arguments)
    if host is None:
        nodes = sorted(glob.glob("/dev/ptemplate-*"), key=lambda path: (len(path), path))
        host = Host(allocated(os.environ, "ptemplate") or [Device(path) for path in nodes])
    try:
        data, text = given.run(host, given)
    except DeviceError as error:
        print(f"ptemplatectl: {error}", file=sys.stderr)
        return 1
    answer = json.dumps(data) + "\n" if given.json else text
    sys.stdout.flush()
    sys.stdout.buffer.write(answer if isinstance(answer, bytes) else answer.encode())
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
