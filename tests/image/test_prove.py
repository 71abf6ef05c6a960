# SPDX-License-Identifier: Apache-2.0
"""The roles end before anything is applied when a driver image would not load. No cluster is there, nor asked."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Registry, free_port

sys.path.insert(0, str(ROOT / ".ansible" / "collections"))
sys.path.append(str(ROOT / "tests" / "unit" / "plugins" / "module_utils"))

import kmods
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition

LABEL = "io.github.ecosystem-edge.content-key"
NODES = [
    {"name": name, "labels": labels, "ready": True, "schedulable": True}
    for name, labels in (("worker-1", {"accelerator": "yes"}), ("worker-2", {}))
]
FACTS = {
    "platform": "kubernetes",
    "nodes": NODES,
    "kernels": [
        {"version": kmods.KERNEL, "arch": "amd64", "os_image": "Debian", "nodes": ["worker-1"]},
        {"version": kmods.OTHER, "arch": "amd64", "os_image": "Debian", "nodes": ["worker-2"]},
    ],
}
PROOF = "Prove that each driver image loads on its kernel"


class Site:
    """A definition, a registry, and the roles on them."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder, self.registry = folder, registry
        (folder / "source").mkdir()
        (folder / "source" / "Kbuild").write_text("obj-m := widget.o\n")

    def push(self, reference: str, files: dict[str, Any], **labels: str) -> None:
        path = kmods.oci_archive(self.folder / "image.tar", gzip.compress(kmods.tar(files)), labels=labels)
        argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci-archive:{path}", f"docker://{reference}"]
        subprocess.run(argv, check=True, capture_output=True)

    def play(self, role: str, *flags: str, kernels: int = 2, **images: str) -> list[tuple[str, dict[str, Any]]]:
        """The names of the tasks and their results."""
        given = {
            "name": "widget",
            "resource": "acme.example/widget",
            "hardware": {"node_label": {"accelerator": "yes"}},
            "driver": {"module": "widget", **({} if "driver" in images else {"source": str(self.folder / "source")})},
            "images": {"registry": f"{self.registry.host}/site", "tls_verify": False, **images},
        }
        definition = _definition.load(given, {}, "/")
        facts = {**FACTS, "kernels": FACTS["kernels"][:kernels]}
        read = {"accelerator_definition": definition, "accelerator_facts": facts}
        variables = {"accelerator": {}, "__common_checked": True, "__common_read": True, **read}
        role_task = {"ansible.builtin.import_role": {"name": f"ecosystem_edge.accelerator.{role}"}}
        book = [{"hosts": "localhost", "gather_facts": False, "tasks": [role_task]}]
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
        argv += ["/dev/stdin", "-e", json.dumps({**variables, "ansible_python_interpreter": sys.executable}), *flags]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("K8S_AUTH_", "KUBECONFIG"))},
            "K8S_AUTH_KUBECONFIG": "/nowhere",
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        }
        done = subprocess.run(
            argv, env=environment, input=json.dumps(book), capture_output=True, text=True, timeout=180
        )
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return [
            (task["task"]["name"].split(" : ")[-1], task["hosts"]["localhost"])
            for play in json.loads(done.stdout)["plays"]
            for task in play["tasks"]
        ]


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    return Site(tmp_path, registry)


def proof(tasks: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return next(result for name, result in tasks if name == PROOF)


def test_driver_build_refuses_an_image_that_it_finds(site: Site) -> None:
    base = f"{site.registry.host}/base:1"
    site.push(base, {"etc/base": b"x"})
    images = {"builder": base, "driver_base": base}
    would = site.play("driver_build", "--check", kernels=1, **images)
    exported = next(result for name, result in would if name == "Export what was built and what was there")
    [built] = exported["ansible_facts"]["common_built"]["results"]
    assert built["would_build"]
    assert proof(would)["results"] == [], "what is not there yet is not asked for"

    site.push(built["image"], kmods.poisoned()["wrong architecture"][0], **{LABEL: built["key"]})
    refused = site.play("driver_build", kernels=1, **images)
    assert refused[-1][0] == PROOF
    [item] = refused[-1][1]["results"]
    assert item["msg"].startswith(f"{built['image']} would not load on kernel {kmods.KERNEL}: ")
    assert "built for architecture arm64, expected amd64; next: " in item["msg"]

    site.push(built["image"], kmods.tree(("widget", kmods.ko())), **{LABEL: built["key"]})
    fine = site.play("driver_build", kernels=1, **images)
    assert [item["loadable"] for item in proof(fine)["results"]] == [True]
    assert fine[-1][1]["ansible_facts"]["driver_build_images"]["images"] == [built["image"]]
    assert not any(result.get("changed") for _name, result in fine)


def test_kmm_refuses_a_given_image_before_it_asks_the_cluster(site: Site) -> None:
    """Only for the kernels of nodes with the hardware: there is none for the other's."""
    template = f"{site.registry.host}/given:${{KERNEL_FULL_VERSION}}"
    site.push(template.replace("${KERNEL_FULL_VERSION}", kmods.KERNEL), kmods.poisoned()["missing dependency"][0])
    tasks = site.play("kmm", driver=template)
    assert tasks[-1][0] == PROOF
    [item] = tasks[-1][1]["results"]
    assert "it depends on gadget, which is not in the image; next: " in item["msg"]
    allowed = site.play("kmm", "-e", json.dumps({"common_host_modules": ["gadget"]}), driver=template)
    assert [item["loadable"] for item in proof(allowed)["results"]] == [True]
    unsigned = site.play(
        "kmm", "-e", json.dumps({"common_host_modules": ["gadget"], "common_require_signed": True}), driver=template
    )
    assert "it is not signed" in proof(unsigned)["results"][0]["msg"]


def test_kmm_goes_on_when_only_the_cluster_can_read_the_image(site: Site) -> None:
    tasks = site.play("kmm", driver=f"localhost:{free_port()}/inside:1")
    [item] = proof(tasks)["results"]
    assert item["loadable"] is None
    assert "it was not proven" in item["unproven"]
    assert tasks[-1][0] != PROOF
