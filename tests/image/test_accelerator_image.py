# SPDX-License-Identifier: Apache-2.0
"""accelerator_image with real podman, skopeo and registries."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import PASSWORD, Builder, Registry, auth_file, free_port, running_registry

LABEL = "io.github.ecosystem-edge.content-key"


def labels(reference: str) -> dict[str, str]:
    argv = ["skopeo", "inspect", "--tls-verify=false", f"docker://{reference}"]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)["Labels"]


def test_builds_once_and_only_again_when_the_content_differs(builder: Builder, tmp_path: Path) -> None:
    would = builder.run(check=True)
    assert (would["changed"], would["would_build"], would["built"], would["digest"]) == (True, True, False, None)
    assert would["diff"]["after"] == f"{would['image']} {would['key']}\n"
    assert builder.registry.tags(builder.repository) == []

    first = builder.run()
    assert (first["changed"], first["built"], first["pushed"]) == (True, True, True)
    assert first["image"] == would["image"]
    assert first["image"].endswith(f":{first['key'][:12]}")
    assert labels(first["image"])[LABEL] == first["key"]

    called, stub = tmp_path / "called", tmp_path / "bin" / "podman"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\necho podman "$@" > {called}\nexit 1\n')
    stub.chmod(0o755)
    (builder.context / "content").touch()
    again = builder.run(path=f"{stub.parent}:{os.environ['PATH']}")
    assert not called.exists(), "skopeo is enough to see that the registry has it"
    assert (again["changed"], again["image"], again["digest"]) == (False, first["image"], first["digest"])

    (builder.context / "content").write_text("two\n")
    other = builder.run()
    assert other["built"]
    assert sorted(builder.registry.tags(builder.repository)) == sorted([first["key"][:12], other["key"][:12]])


def test_a_fixed_tag_moves_to_the_new_content(builder: Builder) -> None:
    first = builder.run(tag="1.0-6.1.0")
    (builder.context / "content").write_text("two\n")
    would = builder.run(check=True, tag="1.0-6.1.0")
    assert would["diff"]["before"] == f"{first['image']} {first['key']}\n"
    second = builder.run(tag="1.0-6.1.0")
    assert second["image"] == first["image"]
    assert second["digest"] != first["digest"]
    assert labels(second["image"])[LABEL] == second["key"]
    assert not builder.run(tag="1.0-6.1.0")["changed"]


def test_build_arguments_extra_files_and_another_containerfile(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "more").write_text("more\n")
    (tmp_path / "Recipe").write_text("FROM scratch\nARG WORD\nLABEL word=$WORD\nCOPY sh /bin/sh\nCOPY src/more /\n")
    options = {"extra_context": {"src": str(tmp_path / "extra")}, "containerfile": str(tmp_path / "Recipe")}
    result = builder.run(build_args={"WORD": "said"}, **options)
    assert labels(result["image"])["word"] == "said"
    (tmp_path / "extra" / "more").write_text("less\n")
    assert builder.run(check=True, build_args={"WORD": "said"}, **options)["would_build"]


def test_a_base_that_moved_is_built_upon_anew(builder: Builder) -> None:
    base = f"{builder.registry.host}/base:latest"
    builder.run(name=base.removesuffix(":latest"), tag="latest")
    builder.recipe("ARG BASE", "FROM ${BASE}", "COPY content /two")
    options = {"bases": [base], "build_args": {"BASE": base}}
    first = builder.run(**options)
    assert not builder.run(**options)["changed"]
    (builder.context / "content").write_text("two\n")
    builder.recipe("FROM scratch", "COPY content /base")
    builder.run(name=base.removesuffix(":latest"), tag="latest")
    (builder.context / "content").write_text("one\n")
    builder.recipe("ARG BASE", "FROM ${BASE}", "COPY content /two")
    second = builder.run(**options)
    assert second["built"], "same files, other base"
    assert second["key"] != first["key"]
    # The build did not take the old base from podman's storage.
    layers = builder.podman("image", "inspect", "--format", "{{len .RootFS.Layers}}", base)
    assert layers == "1"


def test_a_build_that_fails_shows_the_compiler_s_lines_and_leaves_nothing(builder: Builder) -> None:
    builder.recipe("FROM scratch", "COPY sh /bin/sh", "RUN fail")
    before = builder.podman("images", "--quiet", "--filter", "dangling=false")
    failed = builder.run()
    lines = failed["msg"].splitlines()
    assert failed["failed"]
    assert lines[0].startswith(f"the build of {failed['image']} failed in step 3/4: RUN fail; next: correct")
    assert "device.c:3:5: error: implicit declaration of function 'class_create'" in lines
    assert "make: *** [Makefile:3: all] Error 2" in lines
    assert len(lines) < 30
    assert builder.registry.tags(builder.repository) == []
    assert builder.podman("images", "--quiet", "--filter", "dangling=false") == before
    assert builder.podman("ps", "--all", "--external", "--quiet") == ""
    assert builder.remote.is_dir()
    assert list(builder.remote.rglob("accelerator-image-*")) == []
    builder.recipe("FROM scratch", "COPY sh /bin/sh", "RUN works")
    assert builder.run()["built"]


def test_a_build_that_hangs_ends_with_its_time(builder: Builder) -> None:
    builder.recipe("FROM scratch", "COPY sh /bin/sh", "RUN sleep")
    failed = builder.run(timeout=3)
    assert "podman build did not end within 3 s (option timeout)" in failed["msg"]
    builder.recipe("FROM scratch", "COPY sh /bin/sh", "RUN works")
    assert builder.run()["built"]


def test_a_base_that_is_not_there_is_named_before_anything_is_built(builder: Builder) -> None:
    base = f"{builder.registry.host}/driver-toolkit:6.1.0-99"
    failed = builder.run(bases=[base], base_next_step="set images.builder to an image with the headers of 6.1.0-99")
    assert failed["msg"] == (
        f"base image {base} is not there: looked for it at registry {builder.registry.host}, which says: "
        f"reading manifest 6.1.0-99 in {builder.registry.host}/driver-toolkit: manifest unknown: manifest unknown; "
        "next: set images.builder to an image with the headers of 6.1.0-99"
    )
    assert not failed["built"]


def test_a_registry_that_is_not_there(builder: Builder) -> None:
    host = f"localhost:{free_port()}"
    failed = builder.run(name=f"{host}/a/b")
    assert failed["msg"].startswith(f"registry {host} does not say whether it has {host}/a/b:")
    assert "connection refused; next: podman login" in failed["msg"]


def test_a_registry_without_tls_is_refused_unless_allowed(builder: Builder) -> None:
    failed = builder.run(tls_verify=True)
    assert "server gave HTTP response to HTTPS client" in failed["msg"]
    assert f"next: podman login {builder.registry.host}, and check the registry's address, TLS" in failed["msg"]


@pytest.mark.parametrize("password", [None, "wrong-horse", PASSWORD], ids=["none", "wrong", "right"])
def test_a_registry_that_wants_a_password(
    builder: Builder, locked_registry: Registry, tmp_path: Path, password: str | None
) -> None:
    builder.registry = locked_registry
    auth = auth_file(tmp_path, locked_registry.host, password) if password else None
    result = builder.run(auth_file=str(auth) if auth else None)
    if password == PASSWORD:
        assert result["pushed"]
    else:
        assert result["msg"].startswith(f"registry {locked_registry.host} does not say whether it has")
        assert "authentication required" in result["msg"]
        assert not result["built"], "a build of minutes for a registry that refuses"
    secrets = (
        [password, json.loads(auth.read_text())["auths"][locked_registry.host]["auth"]] if auth and password else []
    )
    assert [secret for secret in secrets if secret in json.dumps(result)] == []


def test_a_push_that_is_refused_says_so(builder: Builder, tmp_path: Path) -> None:
    with running_registry(tmp_path, storage="maintenance: {readonly: {enabled: true}}") as read_only:
        failed = builder.run(name=f"{read_only.host}/a")
    assert failed["msg"].startswith(f"registry {read_only.host} refused {read_only.host}/a:")
    assert "405" in failed["msg"]
    assert (failed["built"], failed["pushed"]) == (True, False)


def test_the_ca_bundle_is_there_while_building_and_no_part_of_the_key(builder: Builder, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.write_text("certificates\n")
    builder.recipe(
        "FROM scratch", "COPY sh /bin/sh", "RUN size /etc/ssl/certs/ca-certificates.crt", "RUN size /etc/pip.conf"
    )
    without = builder.run()
    assert "/etc/ssl/certs/ca-certificates.crt: error: nothing there" in without["msg"]
    built = builder.run(ca_bundle=str(bundle))
    assert built["built"]
    assert built["key"] == without["key"]
    assert not builder.run()["changed"], "what was built with it is what is wanted without it"


@pytest.mark.parametrize("option", ["context", "containerfile", "auth_file", "ca_bundle"])
def test_a_path_that_is_not_there_is_named(builder: Builder, option: str) -> None:
    assert builder.run(**{option: "/nowhere"})["msg"] == f"{option}: nothing at /nowhere on the build host"
