# SPDX-License-Identifier: Apache-2.0
"""A part of an image's file tree, read from its layers without extracting any. PRIVATE.

The layers are read from the last one backwards, because what a later layer has is what the image has; so the big layers
of a base image are not read at all once everything that is wanted was found. Whiteouts are OCI's: `.wh.NAME` hides NAME
of the layers below, `.wh..wh..opq` hides all that they have in its folder.
"""

from __future__ import annotations

import posixpath
import typing as t
from contextlib import AbstractContextManager

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.streams import (
    Budget,
    Damaged,
    Reader,
    StreamError,
    TooLarge,
    unpacked,
)
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils._oci.tar import (
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    Entry,
    Tar,
)

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
UNPACKED = 32 << 30  # bytes of all layers
ONE_FILE = 256 << 20  # bytes of a file that is looked into; a driver with debug information has 100 MB
REMEMBERED = 200_000  # entries
LINKS = 40  # on one path, as Linux does


class ImageError(Exception):
    """The image cannot be read. The text is for the user."""


class Layer(t.NamedTuple):
    name: str
    open: t.Callable[[], AbstractContextManager[t.Iterator[bytes]]]


class Node(t.NamedTuple):
    """target: of a link. content: what `look` made of the file, None when it did not look."""

    kind: str
    size: int = 0
    target: str = ""
    content: t.Any = None


class Tree:
    """What is visible below some folders of an image. Paths have no slash in front."""

    def __init__(self, folders: t.Iterable[str]) -> None:
        self.folders = tuple(folders)
        self.nodes: t.Dict[str, Node] = {}
        self._hidden: t.Set[str] = set()  # whiteouts of the layers so far
        self._opaque: t.Set[str] = set()

    def matters(self, path: str) -> bool:
        """Below one of the folders, one of them, or a folder that they are in."""
        return not path or any(path == f or path.startswith(f"{f}/") or f.startswith(f"{path}/") for f in self.folders)

    def below(self, folder: str) -> t.Dict[str, Node]:
        return {path: node for path, node in self.nodes.items() if path.startswith(f"{folder}/")}

    def covered(self, path: str) -> bool:
        """Whether nothing of the layers below can be seen at the path."""
        return path in self.nodes or path in self._hidden or any(map(self._covers, _parents(path)))

    def complete(self) -> bool:
        """Whether nothing that the layers below have can be seen in the folders."""
        return all(any(map(self._covers, (*_parents(folder), folder))) for folder in self.folders)

    def resolve(self, path: str) -> str:
        """Where the path leads when its links are followed; with a slash in front where they leave the folders.

        An absolute link is not followed into the image: KMM copies the folder elsewhere.
        """
        for _each in range(LINKS):
            link = next((p for p in (*_parents(path), path) if self._is(p, LINK)), None)
            if link is None:
                return path
            rest = path[len(link) :].lstrip("/")
            if self.nodes[link].target.startswith("/"):
                return posixpath.normpath(posixpath.join(self.nodes[link].target, rest))
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), self.nodes[link].target, rest))
            if path.startswith("..") or not self.matters(path):
                return f"/{path}"
        return f"/{path}"

    def redirected(self, folder: str) -> t.Optional[str]:
        """Where the folder really is, when a link is on the way to it."""
        link = next((p for p in (*_parents(folder), folder) if self._is(p, LINK)), None)
        if link is None:
            return None
        rest = folder[len(link) :].lstrip("/")
        return posixpath.normpath(posixpath.join("/", posixpath.dirname(link), self.nodes[link].target, rest)).lstrip(
            "/"
        )

    def merge(self, nodes: t.Mapping[str, Node], hidden: t.Set[str], opaque: t.Set[str]) -> None:
        """Adds a layer below those so far."""
        new = {path: node for path, node in nodes.items() if not self.covered(path)}
        self.nodes.update(new)
        self._hidden |= hidden
        self._opaque |= opaque

    def _covers(self, parent: str) -> bool:
        replaced = parent in self.nodes and not self._is(parent, FOLDER)
        return replaced or parent in self._hidden or parent in self._opaque

    def _is(self, path: str, kind: str) -> bool:
        return path in self.nodes and self.nodes[path].kind == kind


Look = t.Callable[[str], t.Optional[t.Callable[[bytes], t.Any]]]


def read(
    layers: t.Sequence[Layer], folders: t.Iterable[str], look: Look, enough: t.Callable[[Tree], bool]
) -> t.Tuple[Tree, int]:
    """The tree, and how many layers were read. layers: first to last.

    look: by a file's path, what to do with its content. enough: whether what was found is all that is wanted.
    """
    tree, budget = Tree(folders), Budget(UNPACKED, "the image")
    count = 0
    for layer in reversed(layers):
        count += 1
        try:
            with layer.open() as pieces:
                _add(tree, Tar(Reader(unpacked(pieces), budget)), look)
        except StreamError as error:
            raise ImageError(f"layer {layer.name} cannot be read: {error}") from None
        if tree.complete() or enough(tree):
            break
    return tree, count


def _add(tree: Tree, tar: Tar, look: Look) -> None:
    nodes: t.Dict[str, Node] = {}
    hidden: t.Set[str] = set()
    opaque: t.Set[str] = set()
    for entry in tar:
        folder, name = posixpath.split(entry.path)
        if name == OPAQUE:
            opaque.add(folder)
        elif name.startswith(WHITEOUT):
            hidden.add(posixpath.join(folder, name[len(WHITEOUT) :]))
        elif tree.matters(entry.path):
            nodes[entry.path] = _node(tree, tar, entry, nodes, look)
        if len(tree.nodes) + len(nodes) + len(hidden) + len(opaque) > REMEMBERED:
            raise TooLarge(f"more than {REMEMBERED} entries, which is the most that is read")
    tree.merge(nodes, {path for path in hidden if tree.matters(path)}, {path for path in opaque if tree.matters(path)})


def _node(tree: Tree, tar: Tar, entry: Entry, nodes: t.Mapping[str, Node], look: Look) -> Node:
    if entry.kind == HARD_LINK:
        same = nodes.get(entry.target)
        if same is None:
            raise Damaged(f"{entry.path} is a hard link to {entry.target}, which is not beside it in this layer")
        return same
    use = look(entry.path) if entry.kind == FILE and not tree.covered(entry.path) else None
    content = use(tar.content(ONE_FILE, entry.path)) if use else None
    return Node(entry.kind, entry.size, entry.target if entry.kind == LINK else "", content)


def _parents(path: str) -> t.Iterator[str]:
    """The folders that a path is in, from the top; the image's root is ""."""
    yield ""
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


__all__ = ("ImageError", "Layer", "Node", "Tree", "read")
