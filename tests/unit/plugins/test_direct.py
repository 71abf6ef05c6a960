# SPDX-License-Identifier: Apache-2.0
"""Modules that run without being packed: the same results as by Ansible's own way, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.ecosystem_edge.accelerator.plugins.plugin_utils import _direct

ROOT = Path(__file__).resolve().parents[3]
NAME = "ecosystem_edge.accelerator"
IMAGE = "registry.example/any:1"
GIVEN: dict[str, Any] = {
    "name": "widget",
    "resource": "acme.example/widget",
    "hardware": {"node_label": {"accelerator": "yes"}},
    "driver": {"module": "widget"},
    "images": dict.fromkeys(("driver", "device_plugin", "operator", "consumer"), IMAGE),
}
TASKS: list[dict[str, Any]] = [
    {f"{NAME}.accelerator_definition": {"accelerator": GIVEN, "directory": "/"}},
    {f"{NAME}.accelerator_definition": {"accelerator": {"name": 3}, "directory": "/"}},
    {f"{NAME}.accelerator_definition": {"accelerator": GIVEN, "mistaken": {}, "directory": "/"}},
    {f"{NAME}.accelerator_info": {}, "environment": {"K8S_AUTH_KUBECONFIG": "/of/the/task"}},
    {f"{NAME}.kmod_image_info": {"archive": "/not/there"}, "check_mode": True, "diff": True},
    {f"{NAME}.kmod_image_info": {"archive": "/not/{{ item }}"}, "loop": ["a", "b"], "delegate_to": "localhost"},
]


def test_each_module_has_its_action() -> None:
    actions, modules = (
        sorted(path.stem for path in (ROOT / "plugins" / kind).glob("[!_]*.py")) for kind in ("action", "modules")
    )
    assert actions == modules


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != _direct.PACKED}
    return {**kept, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"), **more}


def playbook(folder: Path) -> list[str]:
    book = [{"hosts": "localhost", "gather_facts": False, "ignore_errors": True, "tasks": TASKS}]
    path = folder / "play.yml"
    path.write_text(json.dumps(book))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(path)]
    return [*command, "-e", json.dumps({"ansible_python_interpreter": sys.executable})]


def play(folder: Path, **more: str) -> Any:
    command = playbook(folder)
    settings = environment(ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_PIPELINING="1", **more)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
    tasks = json.loads(done.stdout)["plays"][0]["tasks"]
    return [task["hosts"]["localhost"] for task in tasks]


def test_results_are_those_of_packed_modules(tmp_path: Path) -> None:
    direct = play(tmp_path)
    assert direct == play(tmp_path, **{_direct.PACKED: "1"})
    definition, wrong, unknown, info, _archive, loop = direct
    assert definition["ansible_facts"]["accelerator_definition"]["name"] == "widget"
    assert wrong["mistakes"]
    assert "mistaken" in unknown["msg"]
    assert "/of/the/task" in info["msg"], "the task's environment did not reach the module"
    assert [item["item"] for item in loop["results"]] == ["a", "b"]


def test_nothing_is_packed_for_the_controller(tmp_path: Path) -> None:
    command = [*playbook(tmp_path), "-vvv"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=180, check=False)
    assert "ok=6" in done.stdout
    assert "Using module file" not in done.stdout


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that are not the collection's."""
    package = tmp_path / "direct_test_modules"
    package.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(_direct, "MODULES", "direct_test_modules")
    return package


def test_nothing_of_the_child_stays_but_what_it_says(modules: Path) -> None:
    (modules / "talks.py").write_text(
        "import atexit, os, sys\n"
        "def main():\n"
        "    atexit.register(print, 'and is tidy')\n"
        "    print(os.environ['SAID'], file=sys.stderr)\n"
        "    os.environ['LEFT'] = '1'\n"
        "    os.system('echo by a shell')\n"
        "    raise SystemExit(3)\n"
    )
    assert _direct._forked("talks", b"{}", {"SAID": "hello"}) == {
        "stdout": "by a shell\nand is tidy\n",
        "stderr": "hello\n",
        "rc": 3,
    }
    assert "LEFT" not in os.environ
    assert "direct_test_modules.talks" not in sys.modules


def test_warnings_are_in_the_answer(modules: Path) -> None:
    """They are the controller's to show, and a registered result has them."""
    (modules / "warns.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "def main():\n"
        "    module = AnsibleModule(argument_spec={})\n"
        "    module.warn('careful')\n"
        "    module.exit_json(changed=False)\n"
    )
    said = _direct._forked("warns", _direct._encoded({"_ansible_remote_tmp": str(modules)}), {})
    assert "careful" in str(json.loads(said["stdout"])["warnings"])
    assert said["stderr"] == ""


def test_a_module_that_crashes_is_told_with_its_traceback(modules: Path) -> None:
    (modules / "breaks.py").write_text("def main():\n    raise LookupError('of mine')\n")
    said = _direct._forked("breaks", b"{}", {})
    assert said["rc"] == 1
    assert said["stdout"] == ""
    assert "LookupError: of mine" in said["stderr"]


def test_a_module_ends_with_the_task_that_is_ended(modules: Path, tmp_path: Path) -> None:
    (modules / "waits.py").write_text(
        "import os, pathlib, sys, time\n"
        "def main():\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )

    def ended(_number: int, _frame: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ended)
    signal.setitimer(signal.ITIMER_REAL, 1)
    start = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            _direct._forked("waits", b"{}", {})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("flags", "packs"),
    [
        ((), False),
        (("-e", "ansible_python_interpreter=/other/python"), True),
        (("-e", "ansible_connection=ssh"), True),
        (("--become",), True),
        (("-B", "5"), True),
    ],
    ids=["as it comes", "another Python", "another connection", "become", "async"],
)
def test_what_is_not_plainly_local_is_packed(flags: tuple[str, ...], packs: bool) -> None:
    """As in Ansible's own words."""
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-vvv", *flags]
    command += ["-m", f"{NAME}.accelerator_definition", "-a", json.dumps({"accelerator": GIVEN, "directory": "/"})]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=180, check=False)
    assert ("Using module file" in done.stdout) == packs, done.stdout + done.stderr
