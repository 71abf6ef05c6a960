# SPDX-License-Identifier: Apache-2.0
"""Action of module device_plugin_health, which need not be packed on the controller."""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils._direct import DirectAction


class ActionModule(DirectAction):
    """Runs device_plugin_health."""
