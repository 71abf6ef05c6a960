# SPDX-License-Identifier: Apache-2.0
"""From nothing to pods with devices, and what a second run does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from audit import AuditLog
from conftest import Lab

SITE, HEALTH = "playbooks/site.yml", "playbooks/health.yml"
# A line of the check mode's report: "would be created: Kind namespace/name".
WOULD = re.compile(r"would be created: (\S+) (?:(\S+)/)?(\S+?)[\"',]*$", re.M)


def plural(kind: str) -> str:
    """A kind as the audit log names it."""
    lower = kind.lower()
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"


def test_check_mode_on_an_empty_cluster_then_the_real_run(
    lab: Lab, empty: dict[str, Any], audit: AuditLog, say: Callable[[str], None]
) -> None:
    """What check mode lists is what a real run creates, and it writes nothing."""
    assert not [name for name in empty["objects"] if "ptemplate" in name]
    audit.mark()
    check = lab.play(SITE, "--check", "--diff").ok()
    assert [(r.verb, r.uri) for r in audit.writes()] == []
    listed = {(plural(kind), name) for kind, _namespace, name in WOULD.findall(check.output)}
    assert listed, check.output

    audit.mark()
    first = lab.play(SITE).ok()
    made = {(r.resource, r.name) for r in audit.writes() if r.created}
    say(
        f"check mode: {check.seconds:.0f} s, {len(listed)} objects; "
        f"first run: {first.seconds:.0f} s, {len(made)} created"
    )
    assert made - listed == set()
    assert listed - made == set()


def test_second_run_changes_nothing(lab: Lab, audit: AuditLog, say: Callable[[str], None]) -> None:
    """A write is told by the resourceVersion that it left; an apply is one task, and site.yml has six roles."""
    audit.mark()
    lab.play(SITE).ok()
    before = {r.key: r.version for r in audit.writes()}
    audit.mark()
    again = lab.play(SITE, "-v").ok()
    requests = audit.requests()
    applied = [r for r in requests if r.verb == "patch"]
    changed = [r for r in audit.writes() if r.created or before.get(r.key, r.version) != r.version]
    tasks = re.findall(r"^TASK \[.*\bApply\b.*\]", again.output, re.M)
    say(
        f"second run: changed={again.recap['changed']}, {again.seconds:.1f} s, {len(requests)} API requests "
        f"{audit.by_verb()}, {len(applied)} objects applied by {len(tasks)} tasks, {len(changed)} writes that changed"
    )
    assert again.recap["changed"] == 0
    assert [(r.verb, r.key) for r in changed] == []
    assert tasks, "no task with Apply in its name: the check would see nothing"
    assert len(tasks) <= 12


def test_check_mode_after_the_run_lists_nothing(lab: Lab, audit: AuditLog) -> None:
    audit.mark()
    check = lab.play(SITE, "--check", "--diff").ok()
    assert WOULD.findall(check.output) == []
    assert check.recap["changed"] == 0
    assert audit.writes() == []


def test_health_reads_five_devices_and_the_consumers_lines(lab: Lab, audit: AuditLog) -> None:
    audit.mark()
    health = lab.play(HEALTH).ok()
    assert audit.writes() == []
    assert re.search(r"read back .*verified", health.output), health.output[-3000:]
    assert lab.allocatable("example.com/ptemplate") == 5 * len(lab.nodes)


def test_node_has_the_module_and_its_devices(lab: Lab) -> None:
    node = lab.nodes[0]
    assert "ptemplate_char_dev" in lab.ssh(node, "lsmod")
    assert lab.ssh(node, "cat /sys/module/ptemplate_char_dev/parameters/max_dev").strip() == "5"
    assert len(lab.ssh(node, "ls /dev/ptemplate-*").split()) == 5


def test_status_has_conditions(lab: Lab) -> None:
    status = lab.get("ptemplates.pt.example.com", "ptemplate", "-n", "ptemplate")["status"]
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions["Ready"] == "True", json.dumps(status, indent=1)
    assert status["consumers"]
