# SPDX-License-Identifier: Apache-2.0
"""What goes into an image, its key, and what is told of a build that failed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _image, _image_tools


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        ([], "a.c", False),
        ([], ".git/config", True),
        ([], "sub/__pycache__/a.pyc", True),
        ([], "sub/a.pyc", True),
        ([], ".gitignore", False),
        (["*.o"], "a.o", True),
        (["*.o"], "sub/a.o", False),  # a pattern is of the whole path
        (["**/*.o"], "sub/deep/a.o", True),
        (["**/*.o"], "a.o", True),
        (["*.o"], "a.oo", False),
        (["build"], "build/deep/a", True),
        (["build/"], "build/a", True),
        (["/build"], "build/a", True),
        (["build"], "build2/a", False),
        (["b*"], "build/deep/a", True),
        (["*"], "deep/a", True),
        (["sub/**"], "sub/deep/a", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[ab].c"], "b.c", True),
        (["[ab].c"], "c.c", False),
        (["a.c"], "abc", False),
        (["*", "!keep"], "keep/a", False),
        (["*.md", "!README.md"], "README.md", False),
        (["!README.md", "*.md"], "README.md", True),  # the last that matches decides
        (["# a comment", "", "  a  "], "a", True),
        (["!**/__pycache__"], "sub/__pycache__/x", True),
    ],
)
def test_ignored(patterns: list[str], path: str, ignored: bool) -> None:
    assert _image.Ignore(patterns)(path) is ignored


@pytest.fixture
def context(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    (context / "a.c").write_text("int a;\n")
    (context / "sub" / "run").write_text("#!/bin/sh\n")
    (context / "sub" / "run").chmod(0o700)
    (context / "link").symlink_to("a.c")
    (context / "junk.o").write_text("junk")
    (context / ".containerignore").write_text("*.o\n")
    return context


def staged(context: Path, target: Path, extra: dict[str, str] | None = None) -> Path:
    target.mkdir()
    _image.stage(target, context, extra or {})
    return target


def test_staging_copies_what_is_not_ignored(context: Path, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "b.c").write_text("int b;\n")
    target = staged(context, tmp_path / "out", {"more": str(extra), "one.c": str(extra / "b.c")})
    files = sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir())
    assert files == ["a.c", "link", "more/b.c", "one.c", "sub/run"]
    assert (target / "sub" / "run").stat().st_mode & 0o777 == 0o755
    assert (target / "a.c").stat().st_mode & 0o777 == 0o644
    assert (target / "link").is_symlink()
    assert {path.stat().st_mtime for path in target.rglob("*") if path.is_file()} == {_image.EPOCH}


@pytest.mark.parametrize("destination", ["../out", "/etc/passwd", "a/../../b"])
def test_nothing_is_staged_outside(context: Path, tmp_path: Path, destination: str) -> None:
    with pytest.raises(_image.ContextError, match="leaves the context"):
        staged(context, tmp_path / "out", {destination: str(context / "a.c")})


def test_a_missing_source_is_named(context: Path, tmp_path: Path) -> None:
    with pytest.raises(_image.ContextError, match="nothing at /nope for more"):
        staged(context, tmp_path / "out", {"more": "/nope"})


def key(folder: Path, containerfile: str = "FROM scratch", base: str = "sha256:1", **build_args: str) -> str:
    return _image.content_key(folder, containerfile, build_args, {"base": base})


def test_the_key_is_of_the_content(context: Path, tmp_path: Path) -> None:
    """The same in another place, at another time and under another umask; different with each part of it."""
    one = staged(context, tmp_path / "one")
    first = key(one)
    (context / "a.c").touch()
    (context / "a.c").chmod(0o600)
    (context / "junk.o").write_text("other junk")
    assert key(staged(context, tmp_path / "two")) == first
    changed = {key(one, "FROM x"), key(one, base="sha256:2"), key(one, V="1"), key(one, V="2")}
    (one / "a.c").write_text("int b;\n")
    changed.add(key(one))
    (one / "a.c").write_text("int a;\n")
    (one / "a.c").chmod(0o755)
    changed.add(key(one))
    (one / "a.c").chmod(0o644)
    (one / "a.c").rename(one / "b.c")
    changed.add(key(one))
    (one / "b.c").rename(one / "a.c")
    (one / "link").unlink()
    (one / "link").symlink_to("sub")
    changed.add(key(one))
    assert len(changed | {first}) == 9


BUILD = """\
STEP 1/4: FROM localhost:5000/lab/driver-toolkit:6.1
Trying to pull localhost:5000/lab/driver-toolkit:6.1...
Getting image source signatures
Copying blob sha256:abc
STEP 2/4: COPY . /src
--> Using cache 0123
STEP 3/4: RUN make -C /src
  CC [M]  a.o
a.c:3:5: error: implicit declaration of function 'class_create'
"""


def test_the_compiler_s_lines_are_shown() -> None:
    assert _image.failed_step(BUILD) == "3/4: RUN make -C /src"
    assert _image.significant(BUILD).splitlines() == ["  CC [M]  a.o", BUILD.splitlines()[-1]]


def test_an_error_far_above_the_end_is_shown_too() -> None:
    output = BUILD + "".join(f"  CC [M]  b{n}.o\n" for n in range(40)) + "make: *** [Makefile:3] Error 2\n"
    lines = _image.significant(output).splitlines()
    assert lines[:2] == [BUILD.splitlines()[-1], "..."]
    assert lines[-1] == "make: *** [Makefile:3] Error 2"
    assert len(lines) == 22


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ('time="2026-11-24" level=fatal msg="reading manifest: \\"x\\" unknown"', 'reading manifest: "x" unknown'),
        ('time="x" level=fatal msg="Error parsing image name \\"docker://a\\": no such host"', "no such host"),
        ("Trying...\nError: writing blob: denied\n", "writing blob: denied"),
        ("Get https://me:secret@index.example.com: refused", "Get https://***@index.example.com: refused"),
        ("", "nothing"),
    ],
)
def test_what_a_tool_said_at_its_end(output: str, said: str) -> None:
    assert _image.fatal(output) == said


def test_passwords_in_urls_are_not_shown() -> None:
    output = "STEP 1/1: RUN pip install -i https://me:secret@host/simple x\nERROR: https://me:secret@host/simple\n"
    assert "secret" not in _image.failed_step(output) + _image.significant(output)


@pytest.mark.parametrize(
    ("reference", "flags"),
    [
        ("localhost:5000/a/b:c", ["--authfile=/auth.json", "--tls-verify=false"]),
        ("registry.example.com/a:b", ["--authfile=/auth.json"]),  # another registry stays verified
    ],
)
def test_only_the_target_s_registry_goes_without_tls(reference: str, flags: list[str]) -> None:
    assert _image_tools.Registry("localhost:5000/x/y", False, "/auth.json").flags(reference) == flags


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(_image_tools.ToolError, match=r"skopeo not found .* next: dnf install skopeo"):
        _image_tools.require("skopeo")


def test_a_command_ends_with_its_time_and_takes_its_children_along(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"echo started; sleep 60 & echo $! > {child}; wait"
    with pytest.raises(
        _image_tools.ToolError, match=r"sh -c did not end within 1 s .* it said last: started"
    ) as caught:
        _image_tools.run(["sh", "-c", script], 1, merge=True)
    assert caught.value.output == "started"
    state = Path(f"/proc/{child.read_text().strip()}/status")
    until = time.monotonic() + 10  # on a busy machine the dead are slow to go

    def gone() -> bool:
        try:
            return "zombie" in state.read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    while not gone():
        assert time.monotonic() < until, f"the child {state.parent.name} outlived its parent"
        time.sleep(0.05)
