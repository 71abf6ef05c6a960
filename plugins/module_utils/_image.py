# SPDX-License-Identifier: Apache-2.0
"""The content of an image: which files it is made of, its key, and what a build's output says. PRIVATE.

Reads and copies files; runs no command and asks no registry (_image_tools does).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import typing as t
from pathlib import Path

LABEL = "io.github.ecosystem-edge.content-key"
IGNORE_FILE = ".containerignore"
ALWAYS_IGNORED = ("**/.git", "**/__pycache__", "**/*.pyc", IGNORE_FILE)
TAG_DIGITS = 12
EPOCH = 315532800  # 1980: the same in every checkout, and late enough for zip files
SHOWN_LINES = 20

# What podman says of its own progress, as opposed to what the commands in the Containerfile say.
PROGRESS = re.compile(
    r"^(STEP \d|-->|Trying to pull |Getting image |Copying (blob|config) |Writing manifest |Storing sign|COMMIT|"
    r"\[\d/\d\] STEP |time=\S+ level=(warning|info|debug)|Resolved |Using cache|[0-9a-f]{64}$|\s*$)"
)
STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP (\d+/\d+: .*)$")
ERROR = re.compile(
    r"\b(error|fatal|undefined|unresolved|no such file|not found|cannot|unable to|failed)\b", re.IGNORECASE
)
FATAL = re.compile(r'msg="((?:[^"\\]|\\.)*)"')
SECRET = re.compile(r"(?<=://)[^/@\s]+@")  # user and password in a URL


class ContextError(Exception):
    """The build context is not as it should be. The text is for the user."""


class Ignore:
    """A .containerignore: the last pattern that matches decides, `!` takes back, a folder stands for all in it."""

    def __init__(self, lines: t.Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in (*lines, *ALWAYS_IGNORED):
            text = line.strip()
            if text and not text.startswith("#"):
                keep = text.startswith("!")
                self._rules.append((keep, _pattern(text[1:] if keep else text)))

    def __call__(self, path: str) -> bool:
        ignored = False
        for keep, pattern in self._rules:
            if pattern.match(path):
                ignored = not keep
        return ignored


def _pattern(text: str) -> re.Pattern[str]:
    """As Go's filepath.Match, with `**` for any number of folders."""
    parts = [
        "(?:[^/]+/)*" if part == "**" else "".join(map(_wildcard, re.findall(r"\[[^]]+\]|.", part))) + "/"
        for part in os.path.normpath(text.strip().lstrip("/")).split("/")
    ]
    return re.compile("".join(parts[:-1]) + (".*" if parts[-1].endswith("*") else parts[-1][:-1] + "(?:/.*)?") + "$")


def _wildcard(piece: str) -> str:
    if len(piece) > 1:
        return piece  # a class of characters, [a-z]
    return {"*": "[^/]*", "?": "[^/]"}.get(piece, re.escape(piece))


def stage(target: Path, context: Path, extra: t.Mapping[str, str]) -> None:
    """Copies the context and the extra files to a folder, without what is ignored, with normal modes and times."""
    copy_tree(context, target)
    for destination, source in sorted(extra.items()):
        inside = os.path.normpath(destination)
        if inside.startswith(("..", "/")):
            raise ContextError(f"extra_context: {destination} leaves the context: expected a path in it")
        if not os.path.exists(source):
            raise ContextError(f"extra_context: nothing at {source} for {destination}: expected a file or folder")
        copy_tree(Path(source), target / inside)


def copy_tree(source: Path, target: Path) -> None:
    if not source.is_dir():
        _copy(source, target)
        return
    ignore_file = source / IGNORE_FILE
    ignored = Ignore(ignore_file.read_text().splitlines() if ignore_file.exists() else [])
    for folder, folders, files in os.walk(source):
        at = Path(folder).relative_to(source)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            inside = (at / name).as_posix()
            if not ignored(inside):
                _copy(source / inside, target / inside)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    os.utime(target, (EPOCH, EPOCH))


def content_key(staged: Path, containerfile: str, build_args: t.Mapping[str, str], bases: t.Mapping[str, str]) -> str:
    """One number for all that goes into an image: files (path, executable or not, content), recipe, bases' digests."""
    files = []
    for folder, folders, names in os.walk(staged):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in [*names, *links]:
            path = Path(folder) / name
            inside = path.relative_to(staged).as_posix()
            if path.is_symlink():
                files.append([inside, "link", os.readlink(path)])
            else:
                kind = "program" if os.access(path, os.X_OK) else "file"
                files.append([inside, kind, hashlib.sha256(path.read_bytes()).hexdigest()])
    whole = {"files": sorted(files), "containerfile": containerfile, "build_args": build_args, "bases": bases}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def host_of(reference: str) -> str:
    """The registry in a reference: localhost:5000/a/b:c -> localhost:5000."""
    return reference.split("/", 1)[0]


def redacted(text: str) -> str:
    return SECRET.sub("***@", text)


def fatal(output: str) -> str:
    """What podman or skopeo says at its end, without time stamps and levels."""
    lines = [line for line in output.strip().splitlines() if line.strip()]
    said = FATAL.findall(lines[-1]) if lines else []
    last = said[-1].replace('\\"', '"') if said else (lines[-1] if lines else "nothing")
    return redacted(re.sub(r'^(Error: )*(Error parsing image name "[^"]*": )?', "", last))


def failed_step(output: str) -> str:
    """The last step that a build began."""
    steps = [match.group(1) for match in map(STEP.match, output.splitlines()) if match]
    return redacted(steps[-1]) if steps else "before the first step"


def significant(output: str) -> str:
    """The lines that tell why a build failed: the last ones, and the first errors where these stand further up."""
    lines = [line.rstrip() for line in output.splitlines() if not PROGRESS.match(line)]
    last = lines[-SHOWN_LINES:]
    above = [line for line in lines[:-SHOWN_LINES] if ERROR.search(line)][:5]
    return redacted("\n".join([*above, "...", *last] if above else last))


__all__ = ("LABEL", "ContextError", "Ignore", "content_key", "failed_step", "fatal", "significant", "stage")
