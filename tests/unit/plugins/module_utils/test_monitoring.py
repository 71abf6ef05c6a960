# SPDX-License-Identifier: Apache-2.0
"""Alerts and dashboard, judged by Prometheus' own tools."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _manifests
from definitions import IMAGES, ROOT, Obj, example, facts, widget

APIS = {"monitoring.coreos.com/v1": ["PrometheusRule", "ServiceMonitor"]}
TESTS = ROOT / "files" / "monitoring" / "tests" / "alerts.yml"
VARIANTS = {
    "example": example,
    "by playbook": lambda: example(managed_by="playbook"),
    "shortest": widget,
    "by KMM": lambda: widget(device_plugin={"deploy": "kmm"}),
}


def rendered(definition: Obj, platform: str = "kubernetes") -> list[Obj]:
    return _manifests.render("monitoring", definition, facts(apis=APIS, platform=platform), IMAGES)


def rules(definition: Obj) -> list[Obj]:
    (rule,) = [item for item in rendered(definition) if item["kind"] == "PrometheusRule"]
    (group,) = rule["spec"]["groups"]
    return group["rules"]


def panels(definition: Obj, platform: str = "kubernetes") -> list[Obj]:
    (item,) = [item for item in rendered(definition, platform) if item["kind"] == "ConfigMap"]
    (text,) = item["data"].values()
    return json.loads(text)["panels"]


@pytest.fixture(scope="session")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """promtool, from PATH or out of Debian's package: that one is not installed, since it would start a server."""
    found = shutil.which("promtool")
    cached = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ecosystem-edge-accelerator/promtool"
    if not found and not cached.exists():
        folder = tmp_path_factory.mktemp("package")
        for command in ("apt-get download prometheus", "dpkg-deb -x prometheus_*.deb ."):
            done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no promtool, and {command} fails: {done.stderr.strip()}; next: apt-get update")
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / "usr/bin/promtool", cached.with_suffix(".new"))
        cached.with_suffix(".new").replace(cached)
    return Path(found or cached)


def promtool(tool: Path, *arguments: str, folder: Path) -> None:
    done = subprocess.run([tool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "by KMM"])
def test_promtool_accepts_the_rules(variant: str, tool: Path, tmp_path: Path) -> None:
    groups = {"groups": [{"name": "all", "rules": rules(VARIANTS[variant]())}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups))
    promtool(tool, "check", "rules", "rules.yml", folder=tmp_path)


def test_alerts_fire_when_they_should_and_not_else(tool: Path, tmp_path: Path) -> None:
    groups = {"groups": [{"name": "all", "rules": rules(example())}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups))
    shutil.copy(TESTS, tmp_path / "alerts.yml")
    promtool(tool, "test", "rules", "alerts.yml", folder=tmp_path)


def test_every_alert_has_a_test() -> None:
    text = TESTS.read_text()
    assert [rule["alert"] for rule in rules(example()) if rule["alert"] not in text] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_panel_asks_what_prometheus_understands(variant: str) -> None:
    found = panels(VARIANTS[variant]())
    assert len(found) >= 5
    for panel in found:
        promql_parser.parse(panel["targets"][0]["expr"])


def test_only_metrics_that_somebody_exports_are_asked_for() -> None:
    """The names are read from the sources of the two that export them."""
    device_plugin = ROOT / "files/device_plugin/src/accelerator_device_plugin/metrics.py"
    operator = ROOT / "files/operator/src/accelerator_operator/metrics.py"
    exported = {"up"} | _exported(device_plugin, "accelerator_device_plugin") | _exported(operator, "Ptemplate")
    asked: set[str] = set()
    for expression in [rule["expr"] for rule in rules(example())] + [
        p["targets"][0]["expr"] for p in panels(example())
    ]:
        asked |= set(re.findall(r"([A-Za-z_]+)\{", expression))
    assert {re.sub(r"_bucket$", "", name) for name in asked} <= exported


def _exported(source: Path, prefix: str) -> set[str]:
    """First arguments of Gauge, Counter and Histogram: f"{prefix}_name"; a counter's name gets _total."""
    found = set()
    for call in ast.walk(ast.parse(source.read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args:
            if call.func.id not in ("Gauge", "Counter", "Histogram") or not isinstance(call.args[0], ast.JoinedStr):
                continue
            suffix = "".join(part.value for part in call.args[0].values if isinstance(part, ast.Constant))
            found.add(prefix + suffix + ("_total" if call.func.id == "Counter" else ""))
    assert len(found) >= 5, f"{source}: found only {found}"
    return found


def test_every_alert_has_a_runbook() -> None:
    book = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    for rule in rules(example()):
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
        assert f"\n## {rule['alert']}\n" in book
        assert rule["annotations"]["runbook_url"].endswith(f"docs/runbooks/README.md#{rule['alert'].lower()}")


@pytest.mark.parametrize(
    ("definition", "apis"),
    [(widget(), {}), (widget(monitoring={"enabled": False}), APIS)],
    ids=["not served", "not wanted"],
)
def test_nothing_is_rendered_where_nobody_would_read_it(definition: Obj, apis: Obj) -> None:
    assert _manifests.render("monitoring", definition, facts(apis=apis), IMAGES) == []


@pytest.mark.parametrize(
    ("variant", "monitors"),
    [
        ("example", ["ptemplate-device-plugin", "ptemplate-operator"]),
        ("by playbook", ["ptemplate-device-plugin"]),
        ("by KMM", ["widget-operator"]),
    ],
)
def test_what_runs_is_monitored(variant: str, monitors: list[str]) -> None:
    found = [item["metadata"]["name"] for item in rendered(VARIANTS[variant]()) if item["kind"] == "ServiceMonitor"]
    assert found == monitors


def test_monitors_and_rules_bear_the_labels_that_prometheus_selects() -> None:
    objects = rendered(widget(monitoring={"labels": {"release": "main"}}))
    assert [item["kind"] for item in objects if item["metadata"]["labels"].get("release") == "main"] == [
        "ServiceMonitor",
        "ServiceMonitor",
        "PrometheusRule",
    ]


@pytest.mark.parametrize(
    ("platform", "label", "namespace", "kinds"),
    [
        ("kubernetes", "grafana_dashboard", "ptemplate", {"stat", "timeseries"}),
        ("openshift", "console.openshift.io/dashboard", "openshift-config-managed", {"singlestat", "graph"}),
    ],
)
def test_the_dashboard_is_where_it_is_looked_for(platform: str, label: str, namespace: str, kinds: set[str]) -> None:
    (item,) = [item for item in rendered(example(), platform) if item["kind"] == "ConfigMap"]
    assert label in item["metadata"]["labels"]
    assert item["metadata"]["namespace"] == namespace
    assert {panel["type"] for panel in panels(example(), platform)} == kinds
