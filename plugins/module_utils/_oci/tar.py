# SPDX-License-Identifier: Apache-2.0
"""A tar archive, entry by entry, from a stream: ustar with pax and GNU names. PRIVATE.

The standard library's reader takes headers of any size into memory and fails in a dozen ways; this one does neither.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.streams import Damaged, Reader, TooLarge

BLOCK = 512
EXTENDED = 1 << 20  # bytes of a header that only holds names
FILE, LINK, HARD_LINK, FOLDER, OTHER = "file", "link", "hard link", "folder", "other"
KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": HARD_LINK, b"2": LINK, b"5": FOLDER}


class Entry(t.NamedTuple):
    """path, and target of a hard link: from the archive's root, without a slash in front."""

    path: str
    kind: str
    size: int
    target: str


class Tar:
    """Iterates over the entries; content() reads that of the entry at hand."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._left = self._padding = 0

    def __iter__(self) -> t.Iterator[Entry]:
        names: t.Dict[str, str] = {}
        while True:
            self._reader.skip(self._left + self._padding)
            self._left = self._padding = 0
            header = self._reader.read(BLOCK)
            if not header.strip(b"\0"):
                return
            if len(header) < BLOCK:
                raise Damaged(f"its tar archive ends within a header: expected {BLOCK} bytes, seen {len(header)}")
            kind, size = header[156:157], _size(header)
            if kind in b"xgLK":
                found = self._names(kind, size)
                names.update(found if kind != b"g" else {})
                continue
            size = _pax_size(names, size)
            entry = _entry(header, KINDS.get(kind, OTHER), size, names)
            names = {}
            self._left, self._padding = size, -size % BLOCK
            yield entry

    def content(self, limit: int, what: str) -> bytes:
        if self._left > limit:
            raise TooLarge(f"{what} has {self._left} bytes, and {limit} is the most that is read")
        data = self._reader.exactly(self._left)
        self._left = 0
        return data

    def _names(self, kind: bytes, size: int) -> t.Dict[str, str]:
        if size > EXTENDED:
            raise TooLarge(f"its tar archive has a name of {size} bytes, and {EXTENDED} is the most that is read")
        data = self._reader.exactly(size)
        self._reader.skip(-size % BLOCK)
        if kind == b"L":
            return {"path": _text(data.split(b"\0")[0])}
        if kind == b"K":
            return {"linkpath": _text(data.split(b"\0")[0])}
        return _pax(data)


def inside(path: str) -> str:
    """A path from the image's root, without a slash in front."""
    clean = posixpath.normpath("/" + path).lstrip("/")
    if ".." in path.split("/"):
        raise Damaged(f"it has an entry {path!r}: expected a path without ..")
    return clean


def _entry(header: bytes, kind: str, size: int, names: t.Mapping[str, str]) -> Entry:
    name, target = _text(header[:100].split(b"\0")[0]), _text(header[157:257].split(b"\0")[0])
    prefix = _text(header[345:500].split(b"\0")[0]) if header[257:263] == b"ustar\0" else ""
    path = inside(names.get("path") or (f"{prefix}/{name}" if prefix else name))
    target = names.get("linkpath") or target
    return Entry(path, kind, size, inside(target) if kind == HARD_LINK else target)


def _size(header: bytes) -> int:
    given = _octal(header[148:156], "checksum")
    if given != sum(header[:148]) + sum(header[156:]) + 8 * 0x20:
        raise Damaged("its tar archive has a header with a wrong checksum")
    field = header[124:136]
    if field[0] & 0x80:  # GNU's way for large files
        return int.from_bytes(field[1:], "big") if field[0] == 0x80 else _wrong("size", field)
    return _octal(field, "size")


def _octal(field: bytes, what: str) -> int:
    digits = field.split(b"\0")[0].strip(b" ")
    if any(digit not in b"01234567" for digit in digits):
        return _wrong(what, field)
    return int(digits or b"0", 8)


def _pax(data: bytes) -> t.Dict[str, str]:
    """Records of the form "LENGTH KEY=VALUE" and a new line."""
    found = {}
    while data.strip(b"\0"):
        length, _blank, _rest = data.partition(b" ")
        if not length.isdigit() or len(length) > 7 or not len(length) + 2 < int(length) <= len(data):
            return _wrong("extended header", data[:20])
        record, data = data[: int(length)], data[int(length) :]
        key, _equals, value = record[len(length) + 1 : -1].partition(b"=")
        found[_text(key)] = _text(value)
    return found


def _pax_size(names: t.Mapping[str, str], size: int) -> int:
    given = names.get("size")
    if given is None:
        return size
    if not (given.isascii() and given.isdigit()) or len(given) > 18:
        return _wrong("size", given.encode()[:20])
    return int(given)


def _wrong(what: str, seen: bytes) -> t.Any:
    raise Damaged(f"its tar archive has a {what} that is none: seen {seen!r}")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


__all__ = ("FILE", "FOLDER", "HARD_LINK", "LINK", "Entry", "Tar", "inside")
