# SPDX-License-Identifier: Apache-2.0
"""A node's virtual machine: QEMU, as an ordinary process without any right or route of its own."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import kernel, node_config, node_disk, processes, ssh
from .instance import Instance, Node
from .progress import say
from .run import tool

MEMORY = 3072  # megabytes
PROCESSORS = 2
# No quirks of real hardware to wait for, and no defence against neighbours that the lab does not have.
COMMAND_LINE = "root=/dev/vda console=ttyS0 quiet net.ifnames=0 mitigations=off nokaslr panic=10"
TRY_SECONDS = 10


@dataclass(frozen=True)
class Accelerator:
    name: str
    arguments: tuple[str, ...]


KVM = Accelerator("KVM", ("-accel", "kvm", "-cpu", "host"))
# An old processor on purpose (x86-64-v2): programs then choose no wide vector instructions, which are dear to emulate.
EMULATION = Accelerator("emulation (TCG)", ("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem"))


@functools.cache
def accelerator(image: Path) -> Accelerator:
    """KVM if a kernel really starts with it: some hosts have a /dev/kvm that opens and then does not work."""
    argv = ["qemu-system-x86_64", *KVM.arguments, "-nodefaults", "-display", "none", "-no-reboot", "-m", "256"]
    argv += ["-serial", "stdio", "-kernel", str(image), "-append", "console=ttyS0 panic=-1"]
    if not Path("/dev/kvm").exists():
        return EMULATION
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRY_SECONDS)
        output = done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    found = KVM if b"Linux version" in output else EMULATION
    say(f"a kernel started with /dev/kvm {'runs' if found is KVM else 'does not run'}: nodes use {found.name}")
    return found


def argv(lab: Instance, node: Node, used: kernel.Kernel, how: Accelerator) -> list[str]:
    """QEMU's command line. The order of the disks is what lab/node/init expects: vda, vdb, vdc, vdd."""
    own = lab.folder / node.name
    disks = [
        f"file={own}/root.qcow2,format=qcow2,cache=unsafe,discard=unmap",
        f"file={used.modules},format=raw,readonly=on",
        f"file={node_disk.kubernetes()},format=raw,readonly=on",
        f"file={own}/config.tar,format=raw,readonly=on",
    ]
    forwards = [
        f"hostfwd=tcp:127.0.0.1:{lab.ports[f'{node.name}.{name}']}-{node.address}:{port}"
        for name, port in (("ssh", 22), ("kubelet", 10250))
    ]
    return [
        "qemu-system-x86_64",
        *("-name", f"{lab.name}-{node.name}"),
        *("-machine", "pc", *how.arguments, "-smp", str(PROCESSORS), "-m", str(MEMORY)),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-kernel", str(used.image), "-initrd", str(used.initrd), "-append", COMMAND_LINE),
        *(part for disk in disks for part in ("-drive", f"{disk},if=virtio")),
        *("-netdev", ",".join(["user,id=net", *forwards]), "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
        *("-device", "edu"),  # the hardware that the demo finds: PCI 1234:11e8
        *("-serial", f"file:{processes.log_file(lab.folder, node.name)}"),
    ]


def ensure(lab: Instance, node: Node) -> bool:
    """Has the node's machine running; says whether it had to be started. Its disk is kept if it has one."""
    used = kernel.built(node.kernel)
    overlay = lab.folder / node.name / "root.qcow2"
    running = processes.leader(lab.folder, node.name)
    if not overlay.exists():
        overlay.parent.mkdir(parents=True, exist_ok=True)
        unfinished = overlay.with_suffix(".new")
        tool(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", node_disk.root(), unfinished])
        unfinished.rename(overlay)
    if running:
        return False
    node_config.write(lab, node)
    ssh.disconnect(lab, node)
    return processes.ensure(lab.folder, node.name, argv(lab, node, used, accelerator(used.image)))


def power_off(lab: Instance, node: Node, seconds: float = 60) -> None:
    """Shuts the node down properly, or pulls the plug if that takes too long."""
    ssh.power_off(lab, node)
    processes.wait_end(lab.folder, node.name, seconds)
    processes.stop(lab.folder, [node.name])
