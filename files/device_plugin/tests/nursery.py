# SPDX-License-Identifier: Apache-2.0
"""Starts device plugins, one after the other, for tests that kill them: forked, so that none costs imports.

Usage: nursery.py FLAG...      Each line of stdin starts one: its number is printed, and `gone` at its end.
"""

from __future__ import annotations

import os
import sys

from accelerator_device_plugin import __main__ as plugin


def main() -> None:
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(plugin.main())
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
