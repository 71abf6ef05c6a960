# SPDX-License-Identifier: Apache-2.0
"""A module that is in use: the guide's way to the pod that holds it."""

from __future__ import annotations

import re
import sys

from conftest import ROOT, Lab, UsersCheckout

sys.path.insert(0, str(ROOT / "tests" / "repo"))

from guide import blocks

NAMESPACE = "ptemplate"
HOLD = (
    "import os, time; held = os.open(next(v for k, v in os.environ.items() if k.startswith('ptemplate_')), os.O_RDWR)"
)


def test_in_use_is_answered_with_the_pods_name(lab: Lab, users_checkout: UsersCheckout) -> None:
    [block] = [block for block in blocks(ROOT) if "ptemplatectl, holders" in block.text]
    selector = "app.kubernetes.io/component=consumer"
    [pod] = lab.get("pods", "-n", NAMESPACE, "-l", selector, "--field-selector=status.phase=Running")["items"]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    script = f"python3 -c \"{HOLD}; print('held', flush=True); time.sleep(600)\" > /dev/null 2>&1 & echo $!"
    process = lab.kubectl("exec", "-n", NAMESPACE, name, "--", "sh", "-c", script).strip()
    try:
        held = "for try in $(seq 60); do grep '^ptemplate_char_dev [0-9]* [1-9]' /proc/modules && break; sleep 1; done"
        assert lab.ssh(node, held), "the pod has no device open, and rmmod would take the driver away"
        refused = lab.ssh(node, "rmmod ptemplate_char_dev 2>&1", check=False)
        assert "is in use" in refused, refused
        said = users_checkout.run(block.text).output
        assert re.search(rf"^ptemplate-\d: pod {NAMESPACE}/{name}, process \d+ \(python3\)", said, re.M), said
    finally:
        lab.kubectl("exec", "-n", NAMESPACE, name, "--", "sh", "-c", f"kill {process}")
