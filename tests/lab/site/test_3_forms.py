# SPDX-License-Identifier: Apache-2.0
"""The same job in its other forms: from a tarball, as an AAP job, and word for word from the guide."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Lab, UsersCheckout

sys.path.insert(0, str(ROOT / "tests" / "repo"))

from guide import Block, blocks

# A question whose good answer is nothing, such as which pods have an ill device, is marked as one.
BLOCKS = [block for block in blocks(ROOT) if block.marker in {"test: lab", "test: lab-may-be-silent"}]


def test_installed_tarball_runs_the_site(lab: Lab, tmp_path: Path, say: Callable[[str], None]) -> None:
    """Built from a clean copy, installed elsewhere, run by its name in a folder that is no checkout."""
    copy, dist, there = tmp_path / "copy", tmp_path / "dist", tmp_path / "collections"
    lab.run("tests/copy_tree.sh", str(copy))
    lab.run("ansible-galaxy", "collection", "build", "--output-path", str(dist), str(copy))
    tarball = next(dist.glob("ecosystem_edge-accelerator-*.tar.gz"))
    lab.run("ansible-galaxy", "collection", "install", "--force", "--no-deps", "-p", str(there), str(tarball))
    there_only = ["env", "-u", "ANSIBLE_CONFIG", f"ANSIBLE_COLLECTIONS_PATH={there}"]
    play = 'ansible-playbook ecosystem_edge.accelerator.site -e "@$LAB_OVERRIDES"'
    done = subprocess.run(
        [str(ROOT / "lab/lab"), "run", *there_only, "sh", "-c", play],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "failed=0" in done.stdout
    say(f"{tarball.name}: {tarball.stat().st_size // 1024} KiB")


def test_runs_as_an_aap_job(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What AAP's credential gives: four variables, no kubeconfig; the survey's answers as extra variables."""
    import ansible_runner

    template = load_template("Accelerator - enable")
    overrides = lab.overrides
    answers = {"accelerator_registry": overrides["images"]["registry"], "accelerator_managed_by": "operator"}
    variables = {**template["extra_vars"], **answers}
    for key, value in overrides["images"].items():  # the site's base images and TLS, which a real registry needs not
        variables["accelerator_overrides"]["images"].setdefault(key, value)
    credential = aap_credential(json.loads(lab.run("lab/lab", "token")), tmp_path)
    assert set(credential) == {"K8S_AUTH_HOST", "K8S_AUTH_API_KEY", "K8S_AUTH_SSL_CA_CERT", "K8S_AUTH_VERIFY_SSL"}
    env = {
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "BUILDAH_ISOLATION": "chroot",
        "KUBECONFIG": "/nonexistent",
        **credential,
    }
    request.addfinalizer(lambda: lab.kubectl("delete", "clusterrolebinding/automation", "serviceaccount/automation"))
    result = ansible_runner.run(
        private_data_dir=str(tmp_path),
        project_dir=str(ROOT),
        playbook=template["playbook"],
        inventory="localhost ansible_connection=local",
        extravars=variables,
        envvars=env,
        quiet=True,
    )
    output = Path(result.config.artifact_dir, "stdout").read_text()
    assert (result.status, result.rc) == ("successful", 0), output[-4000:]
    assert result.stats["failures"] == {}
    assert credential["K8S_AUTH_API_KEY"] not in output


@pytest.mark.parametrize("answer", ["n", "y"])
def test_another_cluster_is_named_and_asked_for(lab: Lab, answer: str) -> None:
    """make demo CLUSTER=…, here with the lab as the user's own cluster: shown first, changed after a y only."""
    script = """echo ANSWER | make --no-print-directory demo CLUSTER="$KUBECONFIG" ARGS="-e @$LAB_OVERRIDES" """
    done = subprocess.run(
        [str(ROOT / "lab/lab"), "run", "bash", "-c", script.replace("ANSWER", answer)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "nodes: " + ", ".join(lab.nodes) in output, output
    assert "ptemplate in namespace ptemplate, managed by operator" in output
    if answer == "n":
        assert done.returncode == 2, output
        assert "nothing was changed" in output
    else:
        assert done.returncode == 0, output[-4000:]
        assert re.search(r"node-1 +5 +5 +5 +5 +ok", output), output[-4000:]
    assert ("TASK [Write" in output or "Apply the objects" in output) is (answer == "y")


def aap_credential(token: dict[str, str], folder: Path) -> dict[str, str]:
    """The variables that AAP's bearer token credential sets, and its CA file."""
    authority = folder / "ca.crt"
    authority.write_text(token["ca"])
    return {
        "K8S_AUTH_HOST": token["server"],
        "K8S_AUTH_API_KEY": token["token"],
        "K8S_AUTH_SSL_CA_CERT": str(authority),
        "K8S_AUTH_VERIFY_SSL": "True",
    }


def load_template(name: str) -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
    data = yaml.load((ROOT / "extensions/aap/job_templates.yml").read_text(), Loader)
    return next(item for item in data["controller_templates"] if item["name"] == name)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_the_guides_commands_run(users_checkout: UsersCheckout, block: Block) -> None:
    users_checkout.run(block.text, silent=block.marker == "test: lab-may-be-silent")
