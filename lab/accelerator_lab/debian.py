# SPDX-License-Identifier: Apache-2.0
"""Trees of Debian packages, made by mmdebstrap."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .run import tool

SUITE = "bookworm"
# Nobody reads manuals in a node or an image, and under emulation each megabyte is felt.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*")
# As root it mounts /proc and more inside the tree: a namespace takes these, and its children, along when it is killed.
PRIVATE = ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child")


def tree(
    target: Path, packages: Sequence[str], variant: str = "minbase", hooks: Sequence[str] = (), kind: str = "directory"
) -> None:
    """Writes a root file system with these packages to target; kind is directory or tar.

    Hooks are shell lines that see the tree as $1 before it is packed. Variant extract unpacks only: nothing is
    configured and no package is in it but those asked for and what they depend on.
    """
    argv = [
        *(PRIVATE if os.geteuid() == 0 else ()),
        "mmdebstrap",
        "--quiet",
        f"--variant={variant}",
        f"--format={kind}",
        '--aptopt=APT::Install-Recommends "false"',
        f"--include={','.join(packages)}",
        *(f"--dpkgopt=path-exclude={path}" for path in (LEFT_OUT if variant != "extract" else ())),
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE,
        str(target),
    ]
    tool(argv)
