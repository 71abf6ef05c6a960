# SPDX-License-Identifier: Apache-2.0
"""The part of the definition's schema that is about drills. PRIVATE to this collection."""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.parts import (
    Items,
    Names,
    Section,
    Value,
)

# Milestone -> seconds by default, what.
BUDGETS = {
    "noticed": (6, "until the device plugin tells the kubelet, or a consumer ends"),
    "allocatable": (20, "until the node offers fewer; a kubelet reports every 10 seconds"),
    "alert": (10, "until the alert's expression is true"),
    "recovery": (60, "from the fault's end until all is as it was"),
}

_FAULT = Section(
    {
        "inject": Value("text", "Shell command, run as root on the node, that makes a device fail.", required=True),
        "seen_by": Value(
            "text",
            "Who should notice: `plugin`, by the device's health; `consumer`, which ends, because the driver itself "
            "does not know. Without a consumer such a fault is left out.",
            "plugin",
            choices=("plugin", "consumer"),
        ),
        "budgets": Section(
            {
                name: Value("integer", f"Seconds {text}.", default_text="the drill's", minimum=1, maximum=3600)
                for name, (_seconds, text) in BUDGETS.items()
            },
            "Those of this fault, where it differs.",
        ),
    },
    "",
)

DRILL = Section(
    {
        "faults": Names("object", _FAULT, "Faults that can be made. Without any there is no drill."),
        "clear": Value("text", "Shell command that ends each of them, and is harmless where nothing fails."),
        "folders": Items(
            Value("node_folder", ""),
            "Folders of the node that these commands use. They find them below `/host`, and nothing else of the node.",
        ),
        "privileged": Value("boolean", "Whether the commands need a privileged pod.", False),
        "budgets": Section(
            {
                name: Value("integer", f"Seconds {text}.", seconds, minimum=1, maximum=3600)
                for name, (seconds, text) in BUDGETS.items()
            },
            "How fast a fault must be noticed. A drill that takes longer fails.",
        ),
    },
    "How `drill.yml` makes devices fail, on nodes that are named for it, and how fast that must be noticed.",
)
