# SPDX-License-Identifier: Apache-2.0
"""What follows from an image for a kernel: each poison is found with its reason, and a good image is let through."""

from __future__ import annotations

import shutil
import subprocess

import kmods
import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod import image, symvers, verdict
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._kmod.symbols import crc_mismatches
from kmods import FOLDER, KERNEL, OTHER, ko, tree

HOST = f"/host/lib/modules/{KERNEL}"


def judged(*trees, modules=("widget",), kernel=KERNEL, architecture="amd64", **demands):
    """The findings about an image with these layers, and which layers were read."""
    opened = kmods.Opened(*map(kmods.tar, trees))
    fields = {name: tuple(demands.pop(name)) for name in ("firmware", "host_firmware") if name in demands}
    wanted = image.Wanted(kernel, modules, root=demands.pop("root", "/opt"), **fields)
    found = verdict.judge(image.read(opened.layers, wanted), verdict.Demands(wanted, architecture, **demands))
    return found, opened.names


def only(findings):
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize("poison", kmods.poisoned())
def test_a_poisoned_image_is_refused_with_its_reason(poison):
    files, demands, code, words = kmods.poisoned()[poison]
    found = only(judged(files, **demands)[0])
    assert (found.code, found.severity) == (code, "error")
    assert words in str(found)
    assert "; next: " in str(found)
    assert f"/{FOLDER}" in str(found)


def test_a_good_image_is_let_through_and_its_base_is_not_read():
    found, read = judged({"etc/base": b"x"}, kmods.good(), {"etc/top": b"x"}, require_signed=True)
    assert (found, read) == ([], ["layer-3", "layer-2"])


def test_a_good_image_in_layers():
    files = kmods.good()
    each = [{path: content} for path, content in files.items()]
    found, read = judged({"etc/base": b""}, *each)
    assert (found, len(read)) == ([], len(files))


def test_without_a_kernel_each_folder_is_held_against_its_own():
    both = {**tree(("widget", ko())), **tree(("widget", ko(kernel=KERNEL)), kernel=OTHER)}
    found = only(judged(both, kernel=None, modules=())[0])
    assert (found.code, found.path) == ("kernel", f"/opt/lib/modules/{OTHER}/extra/widget.ko")


def test_other_kernels_in_the_image_do_not_matter():
    assert judged({**tree(("widget", ko())), **tree(("widget", b"no module"), kernel=OTHER)})[0] == []


# --- what modprobe would find

DEPENDENT = ko(depends="gadget")


@pytest.mark.parametrize(
    ("files", "options", "code", "words"),
    [
        ({"opt/x": b""}, {}, "absent", f"expected kernel modules in /{FOLDER}, seen those for no kernel"),
        (tree(("gadget", ko("gadget"))), {}, "absent", "expected a module widget; seen gadget"),
        (tree(("gadget", ko("gadget")), dep={"widget": []}), {}, "absent", "expected a module widget at"),
        ({f"{FOLDER}/widget.ko": ko()}, {}, "modules_dep", "there is no modules.dep.bin in it"),
        (
            tree(("widget", ko()), dep={"x": []}),
            {"modules": ("widget",)},
            "modules_dep",
            "modules.dep does not name it",
        ),
        (
            tree(("widget", DEPENDENT), ("gadget", ko("gadget"))),
            {},
            "dependency",
            f"at /{FOLDER}/extra/gadget.ko, but modules.dep does not say so; next: run `depmod -b /opt {KERNEL}`",
        ),
        (
            tree(("widget", DEPENDENT), dep={"widget": ["gadget"]}),
            {},
            "dependency",
            f"which modules.dep names at /{FOLDER}/extra/gadget.ko, where there is no module; next: add gadget.ko",
        ),
        (tree(("widget", ko(kernel=""))), {}, "kernel", "it is built for kernel unknown"),
        (tree(("widget", kmods.elf([]).replace(b".modinfo", b".modinfX"))), {}, "unreadable", "no section .modinfo"),
        (tree(("widget", b"")), {}, "truncated", "it is empty"),
        (tree(("widget", ko() + kmods.signature.MAGIC)), {}, "signature", "its signature"),
        (tree(("widget", ko())), {"firmware": ["a.bin"]}, "firmware", "expected firmware a.bin, and the image has no"),
    ],
)
def test_reasons(files, options, code, words):
    found = only(judged(files, **options)[0])
    assert (found.code, found.severity) == (code, "error")
    assert words in str(found)


def test_a_dependency_of_a_dependency_counts_and_other_modules_do_not():
    modules = [("widget", DEPENDENT), ("gadget", ko("gadget", depends="sprocket")), ("other", ko("other", OTHER))]
    files = tree(*modules, dep={"widget": ["gadget"], "gadget": [], "other": []})
    found = only(judged(files)[0])
    assert (found.code, found.module) == ("dependency", "gadget")
    assert {one.code for one in judged(files, modules=())[0]} == {"dependency", "kernel"}


@pytest.mark.parametrize("link", [HOST, f"/lib/modules/{KERNEL}"])
def test_the_node_s_own_modules_by_a_link(link):
    """As KMM documents it."""
    files = {f"{FOLDER}/host": link, **tree(("widget", DEPENDENT))}
    files[f"{FOLDER}/modules.dep"] = (
        b"extra/widget.ko: host/kernel/drivers/gadget.ko.xz\nhost/kernel/drivers/gadget.ko.xz:\n"
    )
    assert judged({"etc/base": b""}, files) == ([], ["layer-2"])
    elsewhere = {**files, f"{FOLDER}/host": f"/host/lib/modules/{OTHER}"}
    assert only(judged(elsewhere)[0]).code == "dependency"


def test_modules_that_the_nodes_have_loaded():
    files = tree(("widget", ko(depends="gadget-core,drm")))
    assert judged(files, host_modules=("gadget_*", "drm"))[0] == []
    assert "gadget_core" in str(only(judged(files, host_modules=("drm",))[0]))


def test_soft_dependencies_only_warn():
    files = tree(("widget", ko(more=[("softdep", "pre: gadget post: sprocket")])))
    found = judged(files)[0]
    assert [(one.code, one.severity) for one in found] == [("softdep", "warning")] * 2
    assert verdict.loadable(found)
    assert judged(files, host_modules=("gadget", "sprocket"))[0] == []


def test_links_in_the_image():
    files = {f"{FOLDER}/extra/widget.ko": "../real/widget.ko", f"{FOLDER}/real/widget.ko": ko()}
    assert judged({**tree(("widget", ko())), **files})[0] == []
    gone = {**tree(("widget", ko())), f"{FOLDER}/extra/widget.ko": f"/{FOLDER}/real/widget.ko"}
    assert only(judged(gone)[0]).code == "absent", "KMM copies the link, and not what it leads to"
    moved = {path.replace("opt/", "usr/local/", 1): content for path, content in tree(("widget", ko())).items()}
    assert judged({"opt": "usr/local"}, moved)[0] == []
    merged = tree(("widget", ko()), root="usr")
    assert judged({"lib": "usr/lib"}, merged, root="/")[0] == []


def test_firmware():
    wanted = [("firmware", "w/a.bin"), ("firmware", "w/b*.bin")]
    files = tree(("widget", ko(more=wanted)))
    assert [one.code for one in judged(files)[0]] == ["firmware", "firmware"]
    assert judged(files, host_firmware=["w/*"])[0] == []
    there = {"firmware/w/a.bin.xz": b"", "firmware/w/b2.bin": "b3.bin", "firmware/w/b3.bin": b""}
    assert judged({**files, **there}, firmware=["w/b3.bin"])[0] == []
    gone = only(judged({**files, **there, "firmware/w/a.bin.xz": "gone"})[0])
    assert gone.path == f"/{FOLDER}/extra/widget.ko"


def test_another_name_for_the_architecture():
    files = tree(("widget", ko(machine=kmods.ARM64)))
    assert judged(files, architecture="aarch64")[0] == []
    assert judged(files, architecture="")[0] == []


# --- against a kernel's Module.symvers

EXPORTS = symvers.parse(
    b"0x00000001\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n"
    b"0x00000002\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n"
    b"0x00000003\tdrm_open\tdrivers/gpu/drm/drm\tEXPORT_SYMBOL_GPL\t\n"
    b"0x00000004\tdma_x\tvmlinux\tEXPORT_SYMBOL\tDMA_BUF\n"
)
GOOD = {"module_layout": 1, "_printk": 2}


def about_symbols(expected, files, **options):
    found = judged(files, symvers=EXPORTS, **options)[0]
    assert [one.code for one in found] == expected, found
    return found[0] if found else None


def test_symbol_versions():
    assert about_symbols([], tree(("widget", ko(needed=["_printk"], crcs=GOOD)))) is None
    module = ko(needed=["_printk"], crcs={**GOOD, "_printk": 9})
    found = about_symbols(["crc"], tree(("widget", module)))
    assert "the kernel has other versions of _printk than it was built with" in found.text
    mismatches = crc_mismatches(image.facts.look("widget.ko", module), EXPORTS)
    assert mismatches == [{"symbol": "_printk", "module": "0x00000009", "kernel": "0x00000002"}]


def test_another_release_with_the_same_symbol_versions_only_warns():
    """Kernels with modversions take it: RHEL's weak modules live by that."""
    found = about_symbols(["kernel"], tree(("widget", ko(kernel=OTHER, needed=["_printk"], crcs=GOOD))))
    assert found.severity == "warning"
    found = about_symbols(["kernel"], tree(("widget", ko(kernel=OTHER, needed=["_printk"]))))
    assert found.severity == "error"


def test_symbols_that_nobody_exports():
    names = [f"gone_{number}" for number in range(7)]
    found = about_symbols(["symbol"], tree(("widget", ko(needed=["_printk", *names]))))
    assert found.text.endswith("exports gone_0, gone_1, gone_2, gone_3, gone_4 and 2 more")
    modules = [
        ("widget", ko(needed=["gadget_open"], depends="gadget")),
        ("gadget", ko("gadget", exported=["gadget_open"])),
    ]
    assert about_symbols([], tree(*modules, dep={"widget": ["gadget"], "gadget": []})) is None
    outside = tree(("widget", ko(needed=["gadget_open"], depends="gadget")))
    assert about_symbols([], outside, host_modules=("gadget",)) is None, "its exports are not known"


def test_a_dependency_that_this_kernel_has_built_in():
    assert about_symbols([], tree(("widget", ko(needed=["_printk"], depends="printer")))) is None
    found = about_symbols(["dependency"], tree(("widget", ko(needed=["drm_open"], depends="drm"))))
    assert "it depends on drm, one of the kernel's own modules" in found.text


def test_licenses_and_namespaces():
    closed = kmods.elf([("license", "Acme"), ("vermagic", f"{KERNEL} ")], needed=["drm_open", "_printk"])
    found = about_symbols(["license"], tree(("widget", closed)))
    assert "its license is Acme, and the kernel gives drm_open to GPL modules only" in found.text
    assert "namespaces DMA_BUF" in about_symbols(["namespace"], tree(("widget", ko(needed=["dma_x"])))).text
    assert about_symbols([], tree(("widget", ko(needed=["dma_x"], more=[("import_ns", "DMA_BUF")])))) is None


@pytest.mark.skipif(
    not shutil.which("depmod"), reason="no depmod on this machine: its files are made by the tests alone"
)
def test_what_depmod_itself_writes(tmp_path):
    modules = {"widget": ko(depends="gadget", needed=["gadget_open"]), "gadget": ko("gadget", exported=["gadget_open"])}
    folder = tmp_path / FOLDER
    (folder / "extra").mkdir(parents=True)
    for name, data in modules.items():
        (folder / "extra" / f"{name}.ko").write_bytes(data)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (folder / name).touch()
    subprocess.run(["depmod", "-b", str(tmp_path / "opt"), KERNEL], check=True, capture_output=True)
    files = {str(p.relative_to(tmp_path)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found, _read = judged(files)
    assert found == []
    (folder / "extra/gadget.ko").unlink()
    subprocess.run(["depmod", "-b", str(tmp_path / "opt"), KERNEL], check=True, capture_output=True)
    files = {str(p.relative_to(tmp_path)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert only(judged(files)[0]).code == "dependency"
