# SPDX-License-Identifier: Apache-2.0
"""A vendor's folder with a definition and its driver's source, to break and mend."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import yaml
from conftest import ROOT, Lab, Play

EXAMPLE, WIDGET = ROOT / "playbooks/vars/ptemplate.yml", ROOT / "tests/lab/site/widget/widget.yml"


class Desk:
    def __init__(self, lab: Lab, folder: Path, example: Path) -> None:
        """Copies the definition, which keeps its name, and the driver that it names."""
        self._lab = lab
        self.accelerator = yaml.safe_load(example.read_text())["accelerator"]
        self.definition, self.driver = folder / example.name, folder / "driver"
        built = shutil.ignore_patterns("build", "*.ko", "*.o", "*.mod*")
        shutil.copytree(example.parent / self.accelerator["driver"]["source"], self.driver, ignore=built)
        self.accelerator["driver"]["source"] = "driver"
        if consumer := self.accelerator.get("consumer"):
            consumer["source"] = str((example.parent / consumer["source"]).resolve())
        self.write()

    def write(self) -> None:
        self.definition.write_text(yaml.safe_dump({"accelerator": self.accelerator}, sort_keys=False))

    def play(self, playbook: str, *argv: str, managed_by: str = "operator") -> Play:
        overridden = self._lab.overridden(managed_by=managed_by)
        return self._lab.play(playbook, "-e", f"@{self.definition}", *overridden, *argv)

    def version(self, number: str) -> None:
        self.accelerator["driver"]["version"] = number
        self.write()

    def edit(self, old: str, new: str) -> None:
        """Replaces a text that stands once in the driver's C files."""
        self._rewrite(lambda text: text.replace(old, new), old)

    def refuse_to_load(self, words: str) -> None:
        """Has the function of module_init() say these words in the kernel's log and fail."""

        def refuse(text: str) -> str:
            [name] = re.findall(r"^module_init\((\w+)\);", text, re.M)
            lines = f'\tif (THIS_MODULE) {{\n\t\tpr_err("{words}\\n");\n\t\treturn -ENODEV;\n\t}}\n'
            head = f"static int __init {name}(void)\n{{\n"
            return text.replace(head, head + lines)

        self._rewrite(refuse, "\nmodule_init(")

    def _rewrite(self, change: Callable[[str], str], found_by: str) -> None:
        files = [path for path in self.driver.rglob("*.c") if found_by in path.read_text()]
        assert len(files) == 1, f"{found_by!r} stands in {files}"
        text = files[0].read_text()
        changed = change(text)
        assert changed != text
        files[0].write_text(changed)
