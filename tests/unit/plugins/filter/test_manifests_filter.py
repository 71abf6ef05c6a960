# SPDX-License-Identifier: Apache-2.0
"""The filter over the pure functions, in a play's templating: alerts hold braces that are not Jinja's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.ecosystem_edge.accelerator.plugins.filter.manifests import manifests

ROOT = Path(__file__).resolve().parents[4]
FACTS = {"platform": "kubernetes", "apis": {}, "namespaces": {}, "nodes": []}


def test_an_unknown_stage_is_an_error_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match=r"manifests: stage: expected one of namespace, .* seen kmn"):
        manifests({}, "kmn", FACTS)


def test_in_a_play_definition_lookup_and_filter_work_together(tmp_path: Path) -> None:
    """The example is checked, filled and rendered by ansible-playbook, as the roles do it."""
    out = tmp_path / "out.json"
    facts = {
        **FACTS,
        "apis": {"monitoring.coreos.com/v1": ["PrometheusRule"]},
        "nfd": {"api": None, "instances": [], "namespace": None},
        "kmm": {"api": None},
        "olm": {"subscriptions": []},
    }
    images = {name: f"registry.example/{name}:1" for name in ("driver", "device_plugin", "operator", "consumer")}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "seen": facts,
            "images": images,
            "stages": ["namespace", "kmm", "operator", "monitoring"],
            "objects": "{{ accelerator_definition | ecosystem_edge.accelerator.manifests(stages, seen, images) }}",
        },
        "tasks": [
            {
                "ecosystem_edge.accelerator.accelerator_definition": {
                    "accelerator": "{{ accelerator }}",
                    "overrides": {"images": {"registry": "registry.example/team"}},
                    "directory": "{{ lookup('ecosystem_edge.accelerator.definition_dir') }}",
                }
            },
            {"ansible.builtin.copy": {"dest": str(out), "mode": "0644", "content": "{{ objects | to_json }}"}},
        ],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml")]
    argv += ["-e", f"@{ROOT}/playbooks/vars/ptemplate.yml"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
    }
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    objects = json.loads(out.read_text())
    assert {"Namespace", "Module", "Ptemplate", "PrometheusRule"} <= {item["kind"] for item in objects}
    assert "{{ $labels.node }}" in json.dumps(objects)
