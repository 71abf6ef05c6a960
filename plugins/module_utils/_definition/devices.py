# SPDX-License-Identifier: Apache-2.0
"""The definition's sections on devices and their plugin, as data. PRIVATE to this collection."""

from __future__ import annotations

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.drill import DRILL
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._definition.parts import Items, Section, Value

DEVICES = Section(
    {
        "glob": Value("glob", "The device nodes.", default_text="`/dev/<name>-*`"),
        "count": Value("integer", "How many each node has.", default_text="at least one", minimum=1),
        "permissions": Value("permissions", "What pods may do with a device: read, write, mknod.", "rw"),
    },
    "The devices on a node.",
)

DEVICE_PLUGIN = Section(
    {
        "deploy": Value(
            "text",
            "`own`: our unprivileged DaemonSet. `kmm`: KMM's, which is privileged.",
            "own",
            choices=("own", "kmm"),
        ),
        "replicas": Value(
            "integer",
            "Pods that may share a device; the node then offers every device so often. Nothing keeps them apart but "
            "the device.",
            1,
            minimum=1,
            maximum=1000,
        ),
        "prefer": Value(
            "text",
            "Which devices a container gets, after those of one NUMA node: `packed` leaves whole devices and nodes "
            "free, `spread` shares the load.",
            "packed",
            choices=("packed", "spread"),
        ),
        "pre_start": Value(
            "text",
            "What the plugin does with a container's devices before each start of the container: `look`: looks at them "
            "again. `reset`: resets them as well, so that no container sees what another left; the node's "
            "`/sys/devices` is writable for the plugin then. If it fails the container does not start, and the kubelet "
            "tries again.",
            "none",
            choices=("none", "look", "reset"),
        ),
        "reset_file": Value(
            "file_in_image",
            "Attribute below the device's folder in sysfs that takes a 1 for a reset. `device/reset`, that of the PCI "
            "function, will do if the driver follows its resets (`reset_prepare`, `reset_done`) and a container gets "
            "all devices of a function.",
            "reset",
        ),
        "cdi_dir": Value(
            "text",
            "Where the nodes' container runtime reads CDI specs. Pods then get devices by CDI names. The spec file "
            "stays there when all else is removed: in `/var/run/cdi` until the next reboot.",
            default_text="devices come by path",
            choices=("/var/run/cdi", "/etc/cdi"),
        ),
        "pods": Value(
            "boolean",
            "Ask the kubelet which pod has which device, and tell it at `/devices` and in the metrics: names of pods, "
            "to whoever reaches the plugin's port.",
            True,
        ),
        "remember": Value(
            "boolean",
            "Remember faults over restarts of the plugin and reboots of the node, in a file of the kubelet's folder "
            "for device plugins. It stays there when all else is removed.",
            False,
        ),
    },
    "The device plugin.",
)

HEALTH = Section(
    {
        "interval": Value("integer", "Seconds between self-checks.", 5, minimum=1, maximum=3600),
        "file": Value(
            "file_in_image",
            "Attribute in which the driver says how a device is, below the device's folder in sysfs.",
        ),
        "words": Items(Value("version", ""), "What it says of a device that is well.", ("ok",)),
        "serial_file": Value("file_in_image", "Attribute with the device's serial number, there too."),
        "silence": Value(
            "integer",
            "Seconds for which a device may go on when nothing is heard of it.",
            default_text="three intervals",
            minimum=1,
            maximum=86400,
        ),
        "probe": Value(
            "text",
            "`open`: also opens and closes each device at each look, which only a privileged plugin may.",
            "none",
            choices=("none", "open"),
        ),
        "drill": DRILL,
    },
    "How the device plugin watches the devices.",
)
