# SPDX-License-Identifier: Apache-2.0
"""Layers as a tree: what a later layer has or hides counts, nothing is read that is not needed, noise is an error."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import tarfile

import kmods
import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci import layers, streams
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci import tar as tars
from hypothesis import given, settings
from hypothesis import strategies as st


def seen(*blobs, folders=("opt/m",), enough=lambda _tree: False):
    """Path -> content or kind, of what the tree has, and which layers were opened."""
    opened = kmods.Opened(*blobs)
    tree, _count = layers.read(opened.layers, folders, lambda _path: bytes, enough)
    found = {p: n.content if n.kind == tars.FILE else n.target or n.kind for p, n in tree.nodes.items()}
    return {p: what for p, what in found.items() if what != tars.FOLDER}, opened.names


TREES = {
    "later wins": ([{"opt/m/a": b"1", "opt/m/b": b"1"}, {"opt/m/a": b"2"}], {"opt/m/a": b"2", "opt/m/b": b"1"}),
    "whiteout": ([{"opt/m/a": b"1", "opt/m/b": b"1"}, {"opt/m/.wh.a": b""}], {"opt/m/b": b"1"}),
    "whiteout of a folder": ([{"opt/m/d/a": b"1"}, {"opt/m/.wh.d": b"", "opt/m/x": b"2"}], {"opt/m/x": b"2"}),
    "whiteout far above": ([{"opt/m/a": b"1"}, {".wh.opt": b""}], {}),
    "whiteout, then back": ([{"opt/m/a": b"1"}, {"opt/m/.wh.a": b""}, {"opt/m/a": b"3"}], {"opt/m/a": b"3"}),
    "whiteout and again in one layer": (
        [{"opt/m/d/a": b"1", "opt/m/d/b": b"1"}, {"opt/m/.wh.d": b"", "opt/m/d/b": b"2"}],
        {"opt/m/d/b": b"2"},
    ),
    "opaque": (
        [{"opt/m/d/a": b"1", "opt/m/b": b"1"}, {"opt/m/d/c": b"2", "opt/m/d/.wh..wh..opq": b""}],
        {"opt/m/d/c": b"2", "opt/m/b": b"1"},
    ),
    "opaque at the root": ([{"opt/m/a": b"1"}, {".wh..wh..opq": b"", "opt/m/b": b"2"}], {"opt/m/b": b"2"}),
    "a link for a folder": ([{"opt/m/d/a": b"1"}, {"opt/m/d": "../e"}], {"opt/m/d": "../e"}),
    "a file for a folder above": ([{"opt/m/a": b"1"}, {"opt": b"2"}], {"opt": b"2"}),
    "a folder for a file": ([{"opt/m/a": b"1"}, {"opt/m/a": None}], {}),
    "a hard link": ([{"opt/m/a": b"1", "opt/m/b": (tarfile.LNKTYPE, "opt/m/a")}], {"opt/m/a": b"1", "opt/m/b": b"1"}),
    "other places": (
        [{"etc/x": b"1", "./opt/m/a": b"2", "/opt/m/b": b"3", "opt/mm": b"4"}],
        {"opt/m/a": b"2", "opt/m/b": b"3"},
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_trees(case):
    files, expected = TREES[case]
    assert seen(*map(kmods.tar, files))[0] == expected


def test_folders_that_two_layers_share_are_not_complete():
    blobs = [kmods.tar({"opt": None, "opt/m": None, "opt/m/d": None, f"opt/m/d/{n}": b"1"}) for n in "ab"]
    assert set(seen(*blobs)[0]) == {"opt/m/d/a", "opt/m/d/b"}


def test_layers_below_are_read_only_while_something_is_missing():
    blobs = [kmods.tar({f"opt/m/{n}": b"x"}) for n in "abc"]
    found, names = seen(*blobs, enough=lambda tree: "opt/m/b" in tree.nodes)
    assert (set(found), names) == ({"opt/m/b", "opt/m/c"}, ["layer-3", "layer-2"])
    opaque = kmods.tar({"opt/m/.wh..wh..opq": b"", "opt/m/z": b""})
    assert seen(blobs[0], opaque)[1] == ["layer-2"]


def test_links_are_followed_in_the_folders_and_not_out_of_them():
    files = {
        "opt/m/a": "d/../x",
        "opt/m/x": b"1",
        "opt/m/host": "/host/lib/modules/k",
        "opt/m/up": "../../etc/passwd",
        "opt/m/round": "round",
        "opt/m/out": "../../../../x",
    }
    tree, _count = layers.read(kmods.Opened(kmods.tar(files)).layers, ["opt/m"], lambda _p: None, lambda _t: False)
    assert tree.resolve("opt/m/a") == "opt/m/x"
    assert tree.resolve("opt/m/host/kernel/y.ko") == "/host/lib/modules/k/kernel/y.ko"
    for path in ("opt/m/up", "opt/m/round", "opt/m/out"):
        assert tree.resolve(path).startswith("/"), path


def zstd(data):
    program = shutil.which("zstd")
    if not program:
        pytest.skip("no program zstd on this machine")
    return subprocess.run([program, "-q"], input=data, capture_output=True, check=True).stdout


PACKED = {
    "gzip": gzip.compress,
    "gzip in members": lambda d: gzip.compress(d[:700]) + gzip.compress(d[700:]) + bytes(512),
    "zstd": zstd,
    "plain": bytes,
}


@pytest.mark.parametrize("how", PACKED)
def test_compressed_layers(how):
    content = random.Random(1).randbytes(3 << 20) + bytes(5 << 20)
    blob = PACKED[how](kmods.tar({"opt/m/a": content, "opt/m/b": b"last"}))
    assert seen(blob)[0] == {"opt/m/a": content, "opt/m/b": b"last"}


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_each_style(style):
    path = "opt/m/" + "/".join(["folder-of-a-long-name"] * 6) + "/file"
    link = "x" * (90 if style == tarfile.USTAR_FORMAT else 200)
    assert seen(kmods.tar({path: b"1", "opt/m/l": link}, style))[0] == {path: b"1", "opt/m/l": link}


def test_a_number_that_gnu_writes_in_binary():
    data = bytearray(kmods.tar({"opt/m/a": b"12345"}, tarfile.USTAR_FORMAT))
    data[124:136] = b"\x80" + (5).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert seen(bytes(data))[0] == {"opt/m/a": b"12345"}


def header(**changes):
    entry = tarfile.TarInfo("opt/m/a")
    for name, value in changes.items():
        setattr(entry, name, value)
    return entry.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "a path that leaves": (kmods.tar({"opt/m/../../../etc/passwd": b""}), "a path without .."),
    "a file that is too large": (header(size=300 << 30), "is the most that is read"),
    "a name that is too large": (header(type=b"L", size=2 << 30), "a name of 2147483648 bytes"),
    "a checksum": (header().replace(b"opt/m/a", b"opt/m/b"), "a wrong checksum"),
    "a file that ends early": (header(size=5000) + bytes(100), "it ends early: expected 5000"),
    "a header that ends early": (header()[:300], "ends within a header"),
    "gzip that ends early": (gzip.compress(kmods.tar({"opt/m/a": b"1"}))[:-30], "gzip data end early"),
    "gzip that is none": (b"\x1f\x8b" + bytes(100), "gzip data are damaged"),
    "a hard link to nowhere": (kmods.tar({"opt/m/a": (tarfile.LNKTYPE, "etc/x")}), "a hard link to etc/x"),
    "a pax record": (header(type=b"x", size=8) + b"9999 a=b".ljust(512, b"\0"), "an? extended header that is none"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layers(case):
    blob, words = HOSTILE[case]
    with pytest.raises(layers.ImageError, match=f"^layer layer-1 cannot be read: .*{words}"):
        seen(blob)


def test_what_unpacks_to_too_much_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(layers, "UNPACKED", 8 << 20)
    bomb = gzip.compress(header(name="x", size=1 << 30) + bytes(64 << 20))
    with pytest.raises(layers.ImageError, match="more than 8388608 bytes"):
        seen(bomb)
    with pytest.raises(streams.TooLarge):
        streams.unpack(gzip.compress(bytes(1 << 20)), 1000, "it")


def test_too_many_entries(monkeypatch):
    monkeypatch.setattr(layers, "REMEMBERED", 100)
    for path in ("opt/m/{}", "x/.wh.{}"):
        with pytest.raises(layers.ImageError, match="more than 100 entries"):
            seen(kmods.tar({path.format(number): b"" for number in range(200)}))


BASE = kmods.tar({"opt/m/a": b"1" * 700, "opt/m/" + "n" * 120: b"2", "opt/m/l": "a", "opt/m/.wh.x": b""})


@settings(max_examples=500, deadline=None)
@given(st.integers(), st.booleans(), st.booleans())
def test_damaged_layers(seed, pack, outside):
    noise = random.Random(seed)
    data = bytearray(gzip.compress(BASE, mtime=0) if pack and outside else BASE)
    for _each in range(noise.randint(0, 6)):
        at = noise.randrange(len(data))
        data[at] = noise.choice([0, 0x20, 0x30, 0x37, 0x80, 0xFF, noise.randrange(256)])
        if not pack:  # a header that is wrong and says that it is right
            start = at - at % 512
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    blob = bytes(data[: noise.choice([len(data), noise.randrange(len(data) + 1)])])
    try:
        seen(gzip.compress(blob, 1) if pack and not outside else blob)
    except layers.ImageError:
        pass


def test_the_reader_and_the_standard_library_see_the_same():
    blob = kmods.tar({f"opt/m/{number}": bytes(number) for number in (0, 1, 511, 512, 513, 9999)})
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        assert {m.name: m.size for m in archive} == {path: len(data) for path, data in seen(blob)[0].items()}
