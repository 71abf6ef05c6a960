# SPDX-License-Identifier: Apache-2.0
"""Compressed data as a bounded stream: a few bytes can unpack to terabytes, so what comes out is counted. PRIVATE."""

from __future__ import annotations

import importlib
import lzma
import shutil
import subprocess
import threading
import typing as t
import zlib

PIECE = 1 << 20  # bytes that are unpacked at a time
MEMORY = 256 << 20  # bytes that a decoder may take for itself
GZIP, XZ, ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"


class StreamError(Exception):
    """Data that cannot be read to its end. The text is for the user."""


class Damaged(StreamError):
    """It ends early, or is not what it says it is."""


class TooLarge(StreamError):
    """It is more than anything that is meant to be read here."""


class NoDecoder(StreamError):
    """Nothing on this host can unpack it."""


class Budget:
    """How many bytes may come out of an image, all its layers together."""

    def __init__(self, limit: int, what: str) -> None:
        self._left, self._limit, self._what = limit, limit, what

    def spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"{self._what}: more than {self._limit} bytes, which is the most that is read")


class Reader:
    """Exact reads from pieces of bytes."""

    def __init__(self, pieces: t.Iterable[bytes], budget: Budget) -> None:
        self._pieces, self._budget = iter(pieces), budget
        self._rest = b""

    def read(self, size: int) -> bytes:
        """As many bytes; fewer only at the end."""
        parts, missing = [], size
        while missing and self._fill():
            part, self._rest = self._rest[:missing], self._rest[missing:]
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        data = self.read(size)
        if len(data) < size:
            raise Damaged(f"it ends early: expected {size} more bytes, seen {len(data)}")
        return data

    def skip(self, size: int) -> None:
        while size:
            if not self._fill():
                raise Damaged(f"it ends early: expected {size} more bytes, seen none")
            used = min(size, len(self._rest))
            self._rest = self._rest[used:]
            size -= used

    def _fill(self) -> bool:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._budget.spend(len(piece))
            self._rest = piece
        return True


def unpacked(pieces: t.Iterable[bytes]) -> t.Iterator[bytes]:
    """The same data without its compression, which its first bytes tell."""
    pieces = iter(pieces)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(XZ):
            break
    whole = _joined(head, pieces)
    if head.startswith(GZIP):
        return _gunzip(whole)
    if head.startswith(XZ):
        return _decoded(whole, lambda: lzma.LZMADecompressor(memlimit=MEMORY), "xz", lzma.LZMAError)
    if head.startswith(ZSTD):
        return _unzstd(whole)
    return whole


def unpack(data: bytes, limit: int, what: str) -> bytes:
    """All of it, when it is not more than the limit."""
    if not data.startswith((GZIP, XZ, ZSTD)):
        return data
    reader = Reader(unpacked([data]), Budget(limit, what))
    return reader.read(limit + 1)


def _joined(head: bytes, rest: t.Iterator[bytes]) -> t.Iterator[bytes]:
    yield head
    yield from rest


def _gunzip(pieces: t.Iterator[bytes]) -> t.Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            left = piece
            while left:
                yield decoder.decompress(left, PIECE)
                left = decoder.unconsumed_tail
                if decoder.eof:  # another member may follow, or padding
                    left = decoder.unused_data.lstrip(b"\0")
                    decoder = zlib.decompressobj(wbits=31) if left else decoder
        while not decoder.eof:
            rest = decoder.decompress(b"", PIECE)
            if not rest:
                raise Damaged("its gzip data end early")
            yield rest
    except zlib.error as error:
        raise Damaged(f"its gzip data are damaged: {error}") from None


def _decoded(
    pieces: t.Iterator[bytes], fresh: t.Callable[[], t.Any], what: str, wrong: t.Type[Exception]
) -> t.Iterator[bytes]:
    """With a decoder that has the interface of lzma's."""
    decoder = fresh()
    try:
        for piece in pieces:
            left = piece
            while left or not (decoder.eof or decoder.needs_input):
                if decoder.eof:
                    decoder = fresh()
                yield decoder.decompress(left, PIECE)
                left = decoder.unused_data.lstrip(b"\0") if decoder.eof else b""
    except (wrong, EOFError) as error:
        raise Damaged(f"its {what} data are damaged: {error}") from None
    if not decoder.eof:
        raise Damaged(f"its {what} data end early")


def _unzstd(pieces: t.Iterator[bytes]) -> t.Iterator[bytes]:
    try:
        zstd = importlib.import_module("compression.zstd")  # Python 3.14
    except ImportError:
        return _by_command(pieces)
    return _decoded(pieces, zstd.ZstdDecompressor, "zstd", zstd.ZstdError)


def _by_command(pieces: t.Iterator[bytes]) -> t.Iterator[bytes]:
    program = shutil.which("zstd")
    if not program:
        raise NoDecoder(
            "it is compressed with zstd, which Python reads from 3.14 on, and there is no program zstd on this host; "
            "next: dnf install zstd, or apt-get install zstd"
        )
    pipe = subprocess.PIPE
    process = subprocess.Popen([program, "-dcq"], stdin=pipe, stdout=pipe, stderr=pipe)
    failed: t.List[Exception] = []
    feeder = threading.Thread(target=_feed, args=(process, pieces, failed), daemon=True)
    feeder.start()
    stdout, stderr = t.cast(t.IO[bytes], process.stdout), t.cast(t.IO[bytes], process.stderr)
    try:
        while True:
            piece = stdout.read(PIECE)
            if not piece:
                break
            yield piece
        feeder.join()
        if failed:
            raise failed[0]
        if process.wait() != 0:
            said = stderr.read(1000).decode(errors="replace").strip()
            raise Damaged(f"its zstd data are damaged: {said}")
    finally:  # also when nobody wants to read on
        process.kill()
        process.wait()
        feeder.join()
        stdout.close()
        stderr.close()


def _feed(process: subprocess.Popen[bytes], pieces: t.Iterator[bytes], failed: t.List[Exception]) -> None:
    stdin = t.cast(t.IO[bytes], process.stdin)
    try:
        for piece in pieces:
            stdin.write(piece)
    except BrokenPipeError:
        pass  # the program has said why
    except Exception as error:  # handed to the thread that reads
        failed.append(error)
    finally:
        try:
            stdin.close()
        except BrokenPipeError:
            pass


__all__ = ("Budget", "Damaged", "NoDecoder", "Reader", "StreamError", "TooLarge", "unpack", "unpacked")
