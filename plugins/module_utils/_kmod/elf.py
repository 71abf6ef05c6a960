# SPDX-License-Identifier: Apache-2.0
"""A kernel module's ELF object: machine, .modinfo, symbols and their versions. Pure. PRIVATE.

Layouts: elf(5); include/linux/module.h (struct modversion_info); kernel/module/version.c (extended, from 6.14).
"""

from __future__ import annotations

import struct
import typing as t

RELOCATABLE, SYMBOLS, NO_BITS = 1, 2, 8
UNDEFINED, WEAK = 0, 2
MACHINES = {
    3: "386",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}
VERSION = 64  # bytes of struct modversion_info on every architecture
EXPORTED = "__ksymtab_"
# More than any module has; a file that says so is not read on.
MOST_SECTIONS, MOST_SYMBOLS = 100_000, 50_000
LONGEST_NAME = 512  # KSYM_NAME_LEN
SMALL, LARGE = 4 << 20, 64 << 20  # bytes of one section: of texts about the module, of its symbols


class ElfError(Exception):
    """It is no kernel module. The text is for the user."""


class Truncated(ElfError):
    """It was one, and ends early."""


class Section(t.NamedTuple):
    name: str
    kind: int
    offset: int
    size: int
    link: int


class Elf(t.NamedTuple):
    """modinfo: in its order, keys may repeat. crcs: symbol -> the version it was built with."""

    architecture: str
    modinfo: t.List[t.Tuple[str, str]]
    needed: t.List[str]
    exported: t.List[str]
    crcs: t.Dict[str, int]


def parse(data: bytes) -> Elf:
    layout = _Layout(data)
    every = layout.sections()
    sections = {section.name: section for section in every}
    if ".modinfo" not in sections:
        raise ElfError("it has no section .modinfo: expected a kernel module")
    needed, exported = _symbols(layout, every)
    return Elf(
        layout.architecture,
        _modinfo(layout.content(sections[".modinfo"])),
        needed,
        exported,
        _crcs(layout, sections),
    )


class _Layout:
    """The file's outermost structure. Nothing is read beyond its end."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF":
            seen = f"it begins with {data[:4].hex()}" if data else "it is empty"
            raise (ElfError if data else Truncated)(f"it is no ELF file: {seen}")
        if len(data) < 20 or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise Truncated(f"its ELF header is cut off or damaged: the file has {len(data)} bytes")
        self.data, self.wide, self.order = data, data[4] == 2, "<" if data[5] == 1 else ">"
        kind, machine = self.unpack("HH", 16)
        if kind != RELOCATABLE:
            raise ElfError(f"its ELF type is {kind}: expected {RELOCATABLE}, a relocatable object")
        name = MACHINES.get(machine, f"machine {machine}")
        self.architecture = name + ("le" if name == "ppc64" and self.order == "<" else "")

    def unpack(self, form: str, offset: int) -> t.Tuple[t.Any, ...]:
        whole = self.order + form
        if offset + struct.calcsize(whole) > len(self.data):
            raise self.cut(f"it has a head that ends at byte {offset + struct.calcsize(whole)}")
        return struct.unpack_from(whole, self.data, offset)

    def cut(self, what: str) -> Truncated:
        return Truncated(f"it is cut off: {what}, and the file at {len(self.data)}")

    def content(self, section: Section, most: int = SMALL) -> bytes:
        if section.size > most:
            raise ElfError(f"its section {section.name} has {section.size} bytes: expected at most {most}")
        return self.data[section.offset : section.offset + section.size]

    def sections(self) -> t.List[Section]:
        table, size, count, names = self._table()
        heads = [self._head(table + index * size) for index in range(count)]
        for _name, kind, offset, length, _link in heads:
            if kind != NO_BITS and offset + length > len(self.data):
                raise self.cut(f"it has a section that ends at byte {offset + length}")
        if names >= count:
            raise ElfError("its ELF header is damaged: the table of names is not one of its sections")
        texts = self.data[heads[names][2] : heads[names][2] + heads[names][3]]
        return [Section(text_at(texts, name), kind, at, size, link) for name, kind, at, size, link in heads]

    def _table(self) -> t.Tuple[int, int, int, int]:
        """Where the table of sections is, the size of its entries, how many, and which has the names."""
        (table,) = self.unpack("Q", 40) if self.wide else self.unpack("I", 32)
        size, count, names = self.unpack("HHH", 58 if self.wide else 46)
        if size < (64 if self.wide else 40) or not table:
            raise ElfError("it has no table of sections: expected a relocatable object")
        if not count:  # too many for the field: they stand in the first section's head
            count = self._head(table)[3]
        if count > MOST_SECTIONS:
            raise ElfError(f"it has {count} sections: expected at most {MOST_SECTIONS}")
        if names == 0xFFFF:
            names = self._head(table)[4]
        if table + count * size > len(self.data):
            raise self.cut(f"its table of sections ends at byte {table + count * size}")
        return table, size, count, names

    def _head(self, at: int) -> t.Tuple[int, int, int, int, int]:
        """Offset of the name, kind, offset, size, link."""
        if self.wide:
            name, kind, _flags, _address, offset, size, link = self.unpack("IIQQQQI", at)
        else:
            name, kind, _flags, _address, offset, size, link = self.unpack("IIIIIII", at)
        return name, kind, offset, size, link


def _symbols(layout: _Layout, sections: t.Sequence[Section]) -> t.Tuple[t.List[str], t.List[str]]:
    """What it needs from elsewhere, and what it exports to other modules."""
    table = next((section for section in sections if section.kind == SYMBOLS), None)
    if table is None or table.link >= len(sections):
        return [], []
    texts = layout.content(sections[table.link], LARGE)
    form = struct.Struct(layout.order + ("IBBHQQ" if layout.wide else "IIIBBH"))
    content = layout.content(table, LARGE)
    needed: t.Set[str] = set()
    exported: t.Set[str] = set()
    for entry in form.iter_unpack(content[: len(content) - len(content) % form.size]):
        name, info, section = (entry[0], entry[1], entry[3]) if layout.wide else (entry[0], entry[3], entry[5])
        if section == UNDEFINED and name and info >> 4 != WEAK:
            needed.add(text_at(texts, name))
        elif section != UNDEFINED and texts.startswith(EXPORTED.encode(), name):
            exported.add(text_at(texts, name)[len(EXPORTED) :])
        if len(needed) + len(exported) > MOST_SYMBOLS:
            raise ElfError(f"it needs or exports more than {MOST_SYMBOLS} symbols")
    # Made by the toolchain, not by anybody's export: the kernel's own loader passes over it too.
    return sorted(needed - {"", ".TOC.", "_GLOBAL_OFFSET_TABLE_"}), sorted(exported)


def _crcs(layout: _Layout, sections: t.Mapping[str, Section]) -> t.Dict[str, int]:
    if "__version_ext_names" in sections and "__version_ext_crcs" in sections:
        names = layout.content(sections["__version_ext_names"]).split(b"\0")
        crcs = layout.content(sections["__version_ext_crcs"])
        values = [crc for (crc,) in struct.iter_unpack(f"{layout.order}I", crcs[: len(crcs) - len(crcs) % 4])]
        return {_text(names[index]): crc for index, crc in enumerate(values[: len(names)]) if names[index]}
    content = layout.content(sections["__versions"]) if "__versions" in sections else b""
    form = struct.Struct(f"{layout.order}Q56s" if layout.wide else f"{layout.order}I60s")
    entries = form.iter_unpack(content[: len(content) - len(content) % VERSION])
    return {_text(name.split(b"\0")[0]): crc & 0xFFFFFFFF for crc, name in entries}


def _modinfo(content: bytes) -> t.List[t.Tuple[str, str]]:
    pairs = [_text(piece).partition("=") for piece in content.split(b"\0") if piece]
    return [(key, value) for key, _equals, value in pairs]


def text_at(texts: bytes, offset: int) -> str:
    end = texts.find(b"\0", offset, offset + LONGEST_NAME)
    return _text(texts[offset : end if end >= 0 else offset + LONGEST_NAME])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


__all__ = ("Elf", "ElfError", "Truncated", "parse")
