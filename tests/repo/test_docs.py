# SPDX-License-Identifier: Apache-2.0
"""Each command in the guide and the runbooks is run by a test, or says why it cannot be.

Markers, as an HTML comment on the line before a block:
  test: lab            tests/lab/site/test_3_forms.py runs it on the lab, word for word
  test: lab-may-be-silent  the same, and its good answer is nothing
  test: lab-last       the same, by test_5_teardown.py beside it (it removes things)
  test: check          it is `make check` itself
  test: NAME FILE      the test or gate in FILE runs it
  openshift-only       needs OpenShift; the lab has none
  manual: WHY FILE     cannot be run as it stands; FILE tests what it does
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ansible" / "collections"))

from ansible_collections.ecosystem_edge.accelerator.plugins.module_utils import _definition
from guide import Block, blocks

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = blocks(ROOT)

# The template project's folders and its pages, each with ours.
PAGES = [
    "README",
    "driver_container_easy",
    "driver_container_hard",
    "driver_container_running",
    "nfd",
    "kmm",
    "device_plugin",
    "operator",
    "observability",
    "certification",
    "support",
    "checklist",
    "bring_your_own_driver",
]


def test_the_guide_has_commands() -> None:
    assert len(BLOCKS) >= 20
    assert any(block.marker == "test: lab" for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_each_command_is_tested_or_says_why_not(block: Block) -> None:
    marker = block.marker
    if marker in {"test: lab", "test: lab-may-be-silent", "test: lab-last", "test: check", "openshift-only"}:
        return
    assert marker.startswith(("test: ", "manual: ")), f"{block.name}: no marker before\n{block.text}"
    file = ROOT / marker.split()[-1]
    assert file.is_file(), f"{block.name}: {file} does not exist"


def test_openshift_only_commands_are_of_openshift() -> None:
    """The marker is no way around a test: what kubectl and Ansible can do runs on the lab."""
    for block in BLOCKS:
        if block.marker == "openshift-only":
            assert block.text.startswith(("oc ", "preflight ")), block.name


def test_no_page_is_missing() -> None:
    guide = {path.stem for path in (ROOT / "docs/guide").glob("*.md")}
    assert set(PAGES) - guide == set()
    index = (ROOT / "docs/guide/README.md").read_text()
    assert [page for page in PAGES[1:] if f"]({page}.md)" not in index] == []


def test_each_page_says_where_and_on_what_its_commands_run() -> None:
    """Whoever comes from a search has read no other page."""
    index = "docs/guide/README.md"
    pages = {block.page for block in BLOCKS if block.marker == "test: lab"} - {index}
    assert len(pages) > 8
    assert "\n## 0. Before you start\n" in (ROOT / index).read_text()
    assert [page for page in sorted(pages) if "README.md#0-before-you-start)" not in (ROOT / page).read_text()] == []


def test_the_guides_copy_of_the_example_is_a_definition(tmp_path: Path) -> None:
    """Made by the very command, in a folder that has what the checkout has."""
    (command,) = [block.text for block in BLOCKS if block.marker.startswith("test: my.yml ")]
    for name in ("files", "playbooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    subprocess.run(["bash", "-e", "-c", command], cwd=tmp_path, check=True)
    mine = yaml.safe_load((tmp_path / "my.yml").read_text())
    made = _definition.load(mine["accelerator"], mine["accelerator_overrides"], str(tmp_path))
    assert Path(made["driver"]["source"]).samefile(ROOT / "files/kernel_module")
    assert Path(made["consumer"]["source"]).samefile(ROOT / "files/consumer")


def test_glossary_is_sorted() -> None:
    words = [line.split("|")[1].strip().lower() for line in (ROOT / "docs/glossary.md").read_text().splitlines()[4:]]
    assert len(words) > 20
    assert words == sorted(words, key=lambda word: word.replace("`", "").replace(".", ""))


def test_definition_in_the_guide_is_short_and_right() -> None:
    """The shortest working definition, as printed, is under 15 lines."""
    text = (ROOT / "docs/guide/README.md").read_text()
    printed = text.split("```yaml\n")[1].split("```")[0]
    assert len(printed.strip().splitlines()) < 15
    assert yaml.safe_load(printed)["accelerator"]["name"] == "widget"
