# SPDX-License-Identifier: Apache-2.0
"""Writes a message of its own to each allocated device, reads it back, compares; again and again.

Exit codes: 0 ended by SIGTERM or after --rounds, 1 a device failed or lied, 2 wrong use or no device.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable

from .device import Device, DeviceError, allocated


def check(device: Device, message: bytes) -> str:
    """One line about one round on one device. A device smaller than the message is used as far as it goes."""
    wrote = device.write(message)
    if wrote == 0:
        raise DeviceError(f"{device.name} ({device.path}): wrote 0 of {len(message)} B: no space at offset 0")
    back = device.read(len(message))
    if back != message[:wrote]:
        raise DeviceError(
            f"{device.name} ({device.path}): read back {back!r}, expected {message[:wrote]!r}: "
            "somebody else writes to it, or it is broken; see `ptemplatectl stats` and the node's dmesg"
        )
    return f'{device.name}: wrote {wrote} B, read back {len(back)} B, verified: "{back.decode()}"'


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="accelerator_consumer", description=__doc__)
    parser.add_argument(
        "--env-prefix",
        default=os.environ.get("CONSUMER_ENV_PREFIX"),
        help="take devices from variables PREFIX_<id>=/dev/…; default: any prefix [$CONSUMER_ENV_PREFIX]",
    )
    parser.add_argument(
        "--interval",
        type=_not_negative(float, "seconds"),
        default=os.environ.get("CONSUMER_INTERVAL", "10"),
        help="seconds between rounds, default 10 [$CONSUMER_INTERVAL]",
    )
    parser.add_argument(
        "--rounds",
        type=_not_negative(int, "a whole number"),
        default=0,
        help="end after so many rounds; 0, the default: never",
    )
    return parser.parse_args(arguments)


def _not_negative(kind: Callable[[str], float], expected: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise argparse.ArgumentTypeError(f"expected {expected}, 0 or more, got {text!r}")
        return number

    return read


def main(arguments: list[str]) -> int:
    # As process 1 of a container we would otherwise ignore SIGTERM and be killed after the grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    given = parse(arguments)
    devices = allocated(os.environ, given.env_prefix)
    if not devices:
        print(
            f"no device allocated: expected variables {given.env_prefix or '<prefix>'}_<id>=/dev/… in the "
            "environment, found none; does the container ask for the resource? See `resources.limits` in "
            f"`kubectl get pod {socket.gethostname()} -o yaml`",
            file=sys.stderr,
        )
        return 2
    count = 0
    while True:
        count += 1
        for device in devices:
            try:
                # Short, since a device holds 100 B by default; random, so that no old content passes for it.
                print(check(device, f"round {count}, {secrets.token_hex(8)}".encode()), flush=True)
            except DeviceError as error:
                print(error, file=sys.stderr)
                return 1
        if count == given.rounds:
            return 0
        time.sleep(given.interval)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
