# SPDX-License-Identifier: Apache-2.0
"""ptemplate.h as a C program sees it is what the functional suite, which reads no header, uses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import selftest_device as suite

FOLDER = Path(__file__).parents[1]
PROGRAM = r"""
#include <stddef.h>
#include <stdio.h>
#include "ptemplate.h"
#define FIELD(name) printf(#name " %zu\n", offsetof(struct ptemplate_info, name))
int main(void)
{
    printf("%lu %lu", (unsigned long)PTEMPLATE_IOC_QUERY, (unsigned long)PTEMPLATE_IOC_RESET);
    printf(" %zu\n", sizeof(struct ptemplate_info));
    FIELD(version); FIELD(devices); FIELD(index); FIELD(health); FIELD(capacity); FIELD(size); FIELD(reserved);
    return 0;
}
"""


def test_the_suite_has_the_headers_numbers(tmp_path: Path) -> None:
    program = tmp_path / "program"
    argv = ["cc", "-Wall", "-Werror", f"-I{FOLDER}", "-o", str(program), "-x", "c", "-"]
    subprocess.run(argv, input=PROGRAM, text=True, check=True)
    numbers, *fields = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    assert numbers == f"{suite.IOC_QUERY} {suite.IOC_RESET} {suite.INFO.size}"
    assert fields == [f"{name} {offset}" for name, offset in zip(suite.FIELDS, (0, 4, 8, 12, 16, 24, 32), strict=True)]
