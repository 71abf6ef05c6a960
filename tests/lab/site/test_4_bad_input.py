# SPDX-License-Identifier: Apache-2.0
"""Each mistake ends the play with one message: what, where, expected, seen, next step."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from conftest import Lab
from desk import WIDGET, Desk

SITE, TEARDOWN = "playbooks/site.yml", "playbooks/teardown.yml"


def test_mistakes_in_the_definition_are_told_all_at_once(lab: Lab, tmp_path: Path) -> None:
    wrong = {"name": "Not_A_Name", "resource": "ptemplate", "hardwear": {}, "driver": {"source": "./nowhere"}}
    (tmp_path / "my.yml").write_text(yaml.safe_dump({"accelerator": wrong}))
    said = lab.play(SITE, "-e", f"@{tmp_path}/my.yml").complaint
    for path in ("accelerator.name", "accelerator.resource", "accelerator.hardwear", "accelerator.driver.module"):
        assert path in said, said


def test_unreachable_cluster(lab: Lab, tmp_path: Path) -> None:
    config = yaml.safe_load(lab.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    said = lab.play(SITE, kubeconfig=tmp_path / "kubeconfig").complaint
    assert "https://127.0.0.1:9" in said
    assert re.search(r"refused|unreachable", said, re.I), said
    assert "next: kubectl" in said, said


def test_a_permission_that_is_missing_is_named_before_the_first_change(lab: Lab, tmp_path: Path) -> None:
    """With the cluster role `view` alone. `patch` is of the role that the operator gets: who grants it must hold it."""
    lab.kubectl("create", "serviceaccount", "viewer", "-n", "default")
    lab.kubectl("create", "clusterrolebinding", "viewer", "--clusterrole=view", "--serviceaccount=default:viewer")
    try:
        config = yaml.safe_load(lab.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": lab.kubectl("create", "token", "viewer", "-n", "default").strip()}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        (tmp_path / "kubeconfig").chmod(0o600)
        play = lab.play(SITE, kubeconfig=tmp_path / "kubeconfig")
    finally:
        lab.kubectl("delete", "clusterrolebinding/viewer", "serviceaccount/viewer", "-n", "default")
    said = play.complaint
    assert re.search(r"denies \d+ of the permissions that the play needs: ", said), said
    assert "get,list,watch,patch nodes (cluster-wide)" in said, said
    assert "nothing was changed; next: kubectl auth can-i" in said
    assert play.recap["changed"] == 0


def test_a_kernel_without_builder(lab: Lab) -> None:
    registry = lab.overrides["images"]["registry"]
    builder = f"{registry}/no-such:${{KERNEL_FULL_VERSION}}"
    said = lab.play(SITE, *lab.overridden(images={"builder": builder})).complaint
    kernel = lab.get("nodes")["items"][0]["status"]["nodeInfo"]["kernelVersion"]
    assert f"{registry}/no-such:{kernel.replace('+', '_')}" in said
    assert "images.builder" in said, said


def test_a_registry_that_does_not_answer(lab: Lab) -> None:
    """One that answers and refuses is in tests/image."""
    site = lab.overrides["images"]
    elsewhere = {
        key: value.replace(site["registry"].partition("/")[0], "localhost:9")
        for key, value in site.items()
        if isinstance(value, str)
    }
    said = lab.play(SITE, *lab.overridden(images=elsewhere)).complaint
    assert "localhost:9" in said
    assert "connection refused" in said
    assert "next: " in said, said


def test_no_node_has_the_hardware(lab: Lab, tmp_path: Path) -> None:
    nothing = yaml.safe_load(WIDGET.read_text())["accelerator"]
    nothing |= {"name": "nothing", "hardware": {"pci": {"vendor": "dead", "device": "beef"}}}
    nothing["driver"] = {**nothing["driver"], "source": str(WIDGET.parent / "driver")}
    (tmp_path / "my.yml").write_text(yaml.safe_dump({"accelerator": nothing}))
    definition = "-e", f"@{tmp_path}/my.yml"
    try:
        said = lab.play(SITE, *definition, *lab.overridden(timeout=20)).complaint
        assert "nodes with the hardware of nothing" in said
        assert "expected 1" in said
        assert "seen 0 of 0" in said
        assert "next: compare hardware" in said
    finally:
        lab.play(TEARDOWN, *definition, *lab.overridden()).ok()


def test_a_driver_that_does_not_compile(lab: Lab, tmp_path: Path) -> None:
    """The compiler's lines are shown; mended, the same play builds."""
    desk = Desk(lab, tmp_path / "widget", WIDGET)
    desk.edit("int error = misc_register(&widgets[0]);", "int error = misc_regsiter(&widgets[0]);")
    said = desk.play("playbooks/driver_build.yml").complaint
    assert re.search(r"widget\.c:\d+:\d+: error: implicit declaration of function .*misc_regsiter", said), said
    desk.edit("misc_regsiter", "misc_register")
    desk.play("playbooks/driver_build.yml").ok()
