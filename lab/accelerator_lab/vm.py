# SPDX-License-Identifier: Apache-2.0
"""A node's virtual machine: QEMU, as an ordinary process without any right or route of its own."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import disk, kernel, node_config, node_disk, processes, ssh
from .instance import Instance, Node
from .progress import say
from .run import tool

MEMORY = 3072  # megabytes
PROCESSORS = 2
# No quirks of real hardware to wait for, and no defence against neighbours that the lab does not have. The timer is not
# probed: a processor that the host did not run for a moment would be taken for one with a broken timer. systemd tells
# on the console what it does, so that a machine that is slow can be told from one that hangs.
COMMAND_LINE = " ".join(
    (
        "root=/dev/vda console=ttyS0 quiet systemd.show_status=1 net.ifnames=0",
        "mitigations=off nokaslr no_timer_check panic=10",
    )
)
TRY_SECONDS = 10
SHUT_DOWN_SECONDS = 180  # it takes ten, on a host with nothing else to do


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
        # What QEMU itself says and what earlier boots said stays in the same file.
        *("-chardev", f"file,id=console,path={processes.log_file(lab.folder, node.name)},append=on"),
        *("-serial", "chardev:console"),
    ]


def lay_over(overlay: Path, base: Path) -> None:
    """An empty disk over the one that all nodes have in common."""
    overlay.parent.mkdir(parents=True, exist_ok=True)
    unfinished = overlay.with_suffix(".new")
    tool(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, unfinished])
    unfinished.rename(overlay)


def ensure(lab: Instance, node: Node, same_disk: bool = False) -> bool:
    """Has the node's machine running; says whether it had to be started.

    A node that had its plug pulled gets an empty disk: what its page cache held is lost, and containerd does not notice
    that files of an image are cut off (it unpacks without fsync). Its containers come again, from the registry.
    same_disk: not even then.
    """
    used = kernel.built(node.kernel)
    if processes.leader(lab.folder, node.name):
        return False
    overlay = lab.folder / node.name / "root.qcow2"
    if overlay.exists() and not same_disk and not disk.unmounted(overlay):
        say(f"{node.name} did not shut down when it ended: its disk is made anew")
        overlay.unlink()
    if not overlay.exists():
        lay_over(overlay, node_disk.root())
    node_config.write(lab, node)
    ssh.disconnect(lab, node)
    return processes.ensure(lab.folder, node.name, argv(lab, node, used, accelerator(used.image)))


def power_off(lab: Instance, node: Node, seconds: float = SHUT_DOWN_SECONDS) -> None:
    """Shuts the node down properly, or pulls the plug if that takes too long."""
    ssh.power_off(lab, node)
    if not processes.wait_end(lab.folder, node.name, seconds):
        say(f"{node.name} did not shut down within {seconds:.0f} s: its plug is pulled")
    processes.stop(lab.folder, [node.name])
