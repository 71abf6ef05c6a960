# SPDX-License-Identifier: Apache-2.0
"""What the modules that talk to a cluster have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - python >= 3.9
  - kubernetes >= 24.2.0
  - PyYAML >= 5.4
attributes:
  diff_mode:
    description: Reports differences in diff mode.
    support: none
"""

    # Of those that only read it.
    READER = r"""
attributes:
  check_mode:
    description: Runs in check mode without changing anything.
    support: full
notes:
  - The module changes nothing in the cluster, so it never reports a change.
"""
