# SPDX-License-Identifier: Apache-2.0
"""driver_toolkit_info with real podman and registries: what is read out of an image of which nothing can be run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Builder

RELEASE = {"KERNEL_VERSION": "5.14.0-427.el9.x86_64", "RT_KERNEL_VERSION": "", "RHEL_VERSION": "9.4"}


@pytest.fixture
def toolkit(builder: Builder) -> str:
    """An image with a release file and not even a shell."""
    builder.recipe("FROM scratch", "COPY content /etc/driver-toolkit-release.json")
    (builder.context / "content").write_text(json.dumps(RELEASE))
    return str(builder.run(tag="4.18")["image"])


def ask(builder: Builder, image: str, tmp_path: Path, path: str | None = None) -> dict[str, Any]:
    options = {"images": [image], "cache": str(tmp_path / "cache"), "registry": image, "tls_verify": False}
    return builder.module("driver_toolkit_info", options, False, path)


def test_the_release_file_is_read_and_kept(builder: Builder, toolkit: str, tmp_path: Path) -> None:
    wanted = [{"image": toolkit, **{name.lower(): value for name, value in RELEASE.items()}}]
    before = builder.podman("ps", "--all", "--external", "--quiet")  # of builds that other tests killed
    first = ask(builder, toolkit, tmp_path)
    assert (first["changed"], first["releases"]) == (False, wanted), first
    called, stub = tmp_path / "called", tmp_path / "bin" / "podman"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\n: > {called}\nexit 1\n")
    stub.chmod(0o755)
    assert ask(builder, toolkit, tmp_path, f"{stub.parent}:{os.environ['PATH']}")["releases"] == wanted
    assert not called.exists(), "an image of a gigabyte is not pulled twice"
    assert builder.podman("ps", "--all", "--external", "--quiet") == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "names no KERNEL_VERSION: expected a Driver Toolkit; seen '{}'; next: look at images.toolkits"),
        ("no json", "names no KERNEL_VERSION: expected a Driver Toolkit; seen 'no json'"),
    ],
    ids=["no-kernel", "no-json"],
)
def test_what_is_no_toolkit_is_told(builder: Builder, toolkit: str, tmp_path: Path, content: str, says: str) -> None:
    (builder.context / "content").write_text(content)
    assert says in ask(builder, builder.run(tag="other")["image"], tmp_path)["msg"]


def test_an_image_without_the_file_is_told(builder: Builder, tmp_path: Path) -> None:
    image = builder.run(tag="none")["image"]
    said = ask(builder, image, tmp_path)["msg"]
    assert said.startswith(f"{image} has no /etc/driver-toolkit-release.json: ")
    assert "next: look at images.toolkits" in said
