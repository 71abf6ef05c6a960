# SPDX-License-Identifier: Apache-2.0
"""Single layers of an image, by `skopeo experimental-image-proxy`. PRIVATE.

skopeo copies whole images only, but as a proxy it hands out one blob at a time, with the credentials, certificates,
mirrors and proxies that podman uses, and from archives as well. The protocol (cmd/skopeo/proxy.go of containers/skopeo
1.9): JSON requests on a socket, data by pipes. skopeo verifies each blob's digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._image import fatal
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.layers import ImageError, Layer
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.streams import Budget, Reader, TooLarge

PROTOCOL = "0.2."
MESSAGE = 64 << 10  # bytes of an answer; the protocol's is 32 KiB
MANIFEST = 4 << 20  # bytes, as in the OCI distribution specification
PIECE = 1 << 20

Json = t.Dict[str, t.Any]


class Unreadable(ImageError):
    """skopeo does not give the image. `said` is what it says."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


class Proxy:
    """A running skopeo, with one image open."""

    def __init__(
        self, process: subprocess.Popen[bytes], control: socket.socket, said: t.IO[bytes], timeout: float
    ) -> None:
        self._process, self._control, self._said = process, control, said
        self._timeout, self._end = timeout, time.monotonic() + timeout
        self._image: t.Any = None

    def open(self, name: str) -> t.Tuple[str, t.List[Layer]]:
        """Opens TRANSPORT:REFERENCE; its digest, and its layers from first to last."""
        version, _pipe = self._ask("Initialize")
        if not str(version).startswith(PROTOCOL):
            raise ImageError(f"skopeo speaks version {version} of its proxy protocol: expected {PROTOCOL}x")
        self._image, _pipe = self._ask("OpenImage", name)
        digest, pipe = self._ask("GetManifest", self._image)
        with self._pieces(pipe) as pieces:
            try:
                data = Reader(pieces, Budget(MANIFEST, "its manifest")).read(MANIFEST)
                layers = json.loads(data)["layers"]
                return str(digest), [self._layer(layer["digest"], layer["size"]) for layer in layers]
            except (TooLarge, ValueError, KeyError, TypeError) as error:
                raise ImageError(f"its manifest is no OCI image manifest: {error}") from None

    def close(self) -> None:
        """Lets skopeo tidy up what it unpacked of an archive, if it has time left; it is ended in any case."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            for method, arguments in (("CloseImage", [self._image]), ("Shutdown", [])):
                self._control.sendall(json.dumps({"method": method, "args": arguments}).encode())
            self._process.wait(min(5, self._left()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _layer(self, digest: str, size: int) -> Layer:
        @contextlib.contextmanager
        def opened() -> t.Iterator[t.Iterator[bytes]]:
            try:
                _size, pipe = self._ask("GetBlob", self._image, digest, size)
                with self._pieces(pipe) as pieces:
                    yield pieces
            except Unreadable as error:  # the image is there, and a part of it is not
                raise ImageError(f"layer {digest}: {error}") from None

        return Layer(digest, opened)

    def _ask(self, method: str, *arguments: t.Any) -> t.Tuple[t.Any, t.Optional[t.Tuple[int, int]]]:
        """The answer's value, and the pipe that comes with it: its number and its file descriptor."""
        self._send(method, *arguments)
        return self._answer(method)

    def _send(self, method: str, *arguments: t.Any) -> None:
        try:
            self._control.sendall(json.dumps({"method": method, "args": list(arguments)}).encode())
        except OSError as error:
            raise self._gone(method, error) from None

    def _answer(self, method: str) -> t.Tuple[t.Any, t.Optional[t.Tuple[int, int]]]:
        self._control.settimeout(self._left())
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._control, MESSAGE, 1)
        except socket.timeout:
            raise self._late() from None
        except OSError as error:
            raise self._gone(method, error) from None
        if not data:
            raise self._gone(method, "it ended")
        answer = json.loads(data)
        if not answer["success"]:
            said = fatal(str(answer.get("error", "")))
            raise Unreadable(said, said)
        return answer.get("value"), (answer["pipeid"], descriptors[0]) if descriptors else None

    @contextlib.contextmanager
    def _pieces(self, pipe: t.Optional[t.Tuple[int, int]]) -> t.Iterator[t.Iterator[bytes]]:
        """The data of a pipe. At its end skopeo says whether they were right, so all of them are taken."""
        if pipe is None:
            raise ImageError("skopeo gave no data: expected a pipe")
        number, descriptor = pipe
        self._send("FinishPipe", number)  # at once: only this makes skopeo close the pipe when all is written
        try:
            pieces = self._taken(descriptor)
            yield pieces
            for _rest in pieces:
                pass
        finally:
            os.close(descriptor)
        self._answer("FinishPipe")

    def _taken(self, descriptor: int) -> t.Iterator[bytes]:
        while True:
            ready, _w, _x = select.select([descriptor], [], [], self._left())
            if not ready:
                raise self._late()
            piece = os.read(descriptor, PIECE)
            if not piece:
                return
            yield piece

    def _left(self) -> float:
        return max(self._end - time.monotonic(), 0.01)

    def _late(self) -> ImageError:
        said = f"skopeo did not end within {self._timeout:.0f} s (option timeout)"
        return Unreadable(said, said)

    def _gone(self, method: str, why: object) -> ImageError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._said.seek(0)
        said = fatal(self._said.read(4000).decode(errors="replace"))
        return Unreadable(f"skopeo gave no answer to {method} ({why}); it said last: {said}", said)


@contextlib.contextmanager
def running(flags: t.Sequence[str], architecture: t.Optional[str], timeout: float) -> t.Iterator[Proxy]:
    """flags: how to speak to registries. architecture: which image of a list is meant; else the host's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    chosen = [f"--override-arch={architecture}", "--override-os=linux"] if architecture else []
    argv = ["skopeo", *chosen, "experimental-image-proxy", f"--sockfd={theirs.fileno()}", *flags]
    with contextlib.ExitStack() as stack:
        stack.enter_context(ours)
        said = stack.enter_context(tempfile.TemporaryFile())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="accelerator-skopeo-"))  # for archives
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "LC_ALL": "C", "TMPDIR": folder},
            start_new_session=True,
        )
        theirs.close()
        proxy = Proxy(process, ours, said, timeout)
        stack.callback(proxy.close)
        yield proxy


__all__ = ("Proxy", "Unreadable", "running")
