# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the lab's own code; nothing here starts a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
