# SPDX-License-Identifier: Apache-2.0
"""The lab's one exception."""

from __future__ import annotations


class LabError(Exception):
    """Something the user can act on: says what, where, expected, seen, and what to type next."""
