# SPDX-License-Identifier: Apache-2.0
"""Throughput of the devices beside files of tmpfs, same size, same run. Prints TAP; exit status 1 below the bound.

Usage: bench.py ptemplate_char_dev.ko      (as root; loads and unloads the module, which must not be loaded)

Beside the module there must be the program of bench.c. Device and file take turns, and the median of each counts, so
that what else the machine does hits both. Only ratios mean something.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from selftest_device import Test, expect, run
from selftest_load import loaded

BOUND = 0.8
ROUNDS, MILLISECONDS = 7, 300
SIZE = 1024 * 1024
KINDS = {  # name: numbers of the devices that threads use, and whether the bound holds
    "1 thread": ([0], True),
    "2 threads, a device each": ([0, 1], True),
    "2 threads, one device": ([0, 0], False),
}


def measure(program: Path, verb: str, block: int, files: list[str]) -> float:
    """Bytes a second."""
    argv = [str(program), verb, str(block), str(MILLISECONDS), *files]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout)


def ratio(program: Path, tmpfs: str, verb: str, block: int, numbers: list[int]) -> float:
    pairs = [(f"/dev/ptemplate-{number}", f"{tmpfs}/{number}") for number in numbers]
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side in (0, 1):
            rates[side].append(measure(program, verb, block, [pair[side] for pair in pairs]))
    ours, theirs = map(statistics.median, rates)
    print(f"# ratio {ours / theirs:.2f}: {ours / 1e6:.0f} MB/s, tmpfs {theirs / 1e6:.0f} MB/s")
    return ours / theirs


def test(program: Path, tmpfs: str, verb: str, block: int, kind: str) -> None:
    numbers, judged = KINDS[kind]
    seen = ratio(program, tmpfs, verb, block, numbers)
    if judged:
        expect(f"at least {BOUND} of tmpfs, seen {seen:.2f}", True, seen >= BOUND)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", help="the file to load")
    module = parser.parse_args().module
    program = Path(module).resolve().with_name("bench")
    with loaded(module, "max_dev=2", f"buffersize={SIZE}"), tempfile.TemporaryDirectory() as tmpfs:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmpfs], check=True)
        try:
            for number in (0, 1):
                Path(tmpfs, str(number)).write_bytes(bytes(SIZE))
            cases = [(verb, block, kind) for kind in KINDS for verb in ("read", "write") for block in (4096, 65536)]
            tests: list[tuple[str, Test]] = [
                (f"p{verb} of {block // 1024} KiB, {kind}", partial(test, program, tmpfs, verb, block, kind))
                for verb, block, kind in cases
            ]
            return run(tests) > 0
        finally:
            subprocess.run(["umount", tmpfs], check=True)


if __name__ == "__main__":
    sys.exit(main())
