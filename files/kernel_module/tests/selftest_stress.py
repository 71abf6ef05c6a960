# SPDX-License-Identifier: Apache-2.0
"""The functional suite's stress: 16 threads of a C program, which is beside the module, without and with faults."""

from __future__ import annotations

import subprocess
from pathlib import Path

from selftest_device import Skipped, content, expect
from selftest_faults import need_debugfs
from selftest_load import DEBUGFS, holders, loaded

THREADS, MILLISECONDS, SIZE = 16, 4000, 1000
TEXT = "A" * SIZE


def stress(module: str, fault: str) -> None:
    program = Path(module).resolve().with_name("stress")
    if not program.exists():
        raise Skipped(f"no {program}; next: make programs")
    devices = ["/dev/ptemplate-0", "/dev/ptemplate-1"]
    with loaded(module, "faults=1", "max_dev=2", f"buffersize={SIZE}", f"default_msg={TEXT}"):
        argv = [str(program), str(THREADS), str(MILLISECONDS), str(SIZE), fault, *devices]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        print(f"# {done.stdout.strip()}")
        expect("what it complained about", (0, ""), (done.returncode, done.stderr))
        for device in devices:
            expect(f"content of {device}: equal bytes", True, len(set(content(device))) <= 1)
        if DEBUGFS.exists():
            expect("holders", [], holders())


def test_stress_by_16_threads(module: str) -> None:
    stress(module, "-")


def test_stress_by_16_threads_with_faults_and_removals(module: str) -> None:
    need_debugfs()
    stress(module, str(DEBUGFS / "ptemplate-0/fault"))


STRESS_TESTS = [test_stress_by_16_threads, test_stress_by_16_threads_with_faults_and_removals]
