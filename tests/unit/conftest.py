# SPDX-License-Identifier: Apache-2.0
"""Makes the collection importable under its own name, from the link that `make setup` puts there."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = ROOT / ".ansible" / "collections"

if "ansible_collections" not in ROOT.parts:  # ansible-test runs where the path is already right
    sys.path.insert(0, str(LINK))
