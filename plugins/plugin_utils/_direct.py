# SPDX-License-Identifier: Apache-2.0
"""Runs a module of this collection without packing it, where it would run on the controller anyway. PRIVATE.

Ansible packs a module with all that it imports, starts Python for it and has everything compiled: a second of processor
time a task, which is more than most of our modules work. On the controller all of that is there already, so a forked
child calls the module's main(). What the child does to its environment, warnings or memory ends with it. A task that is
not plainly local (another host or Python, become, async) takes Ansible's way, and so does all of it when
ACCELERATOR_PACKED_MODULES is set.

ansible.netcommon runs its modules within the worker for the same reason; ansible-core knows of that.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import signal
import sys
import tempfile
import traceback
import typing as t

from ansible.module_utils import basic
from ansible.plugins.action.normal import ActionModule as NormalAction
from ansible.vars.clean import remove_internal_keys

Json = t.Dict[str, t.Any]
PACKED = "ACCELERATOR_PACKED_MODULES"
MODULES = "ansible_collections.ecosystem_edge.accelerator.plugins.modules"
PROFILE = "legacy"  # how what goes to a module and comes from it is written since ansible-core 2.19


class DirectAction(NormalAction):
    """The action of a module that has the same name."""

    def _execute_module(
        self,
        module_name: t.Optional[str] = None,
        module_args: t.Optional[Json] = None,
        tmp: t.Optional[str] = None,
        task_vars: t.Optional[Json] = None,
        **options: t.Any,
    ) -> Json:
        if not self._is_local(task_vars or {}):
            return super()._execute_module(module_name, module_args, tmp, task_vars, **options)
        name = module_name or self._task.action
        arguments = dict(module_args or self._task.args)
        self._update_module_args(name, arguments, task_vars)
        environment: t.Dict[str, str] = {}
        self._compute_environment_string(environment)
        said = _forked(name.rpartition(".")[2], _encoded(arguments), environment)
        data = self._parse_returned_data(said, *([PROFILE] if _profiles() else []))
        remove_internal_keys(data)
        return data

    def _is_local(self, task_vars: Json) -> bool:
        """Whether Ansible would start the Python that runs this, as the same user, on this host, and wait for it."""
        delegate = self._task.delegate_to
        host = task_vars.get("ansible_delegated_vars", {}).get(delegate, {}) if delegate else task_vars
        interpreter = host.get("ansible_python_interpreter")
        return (
            os.environ.get(PACKED, "") == ""
            and self._connection.transport in ("local", "ansible.builtin.local")
            and not self._task.async_val
            and not self._play_context.become
            and interpreter is not None
            and self._templar.template(interpreter) == sys.executable
        )


def _profiles() -> bool:
    return hasattr(basic, "_ANSIBLE_PROFILE")


def _encoded(arguments: Json) -> bytes:
    """As Ansible sends them: a vaulted text is told."""
    from ansible.module_utils.common import json as ansible_json

    if _profiles():
        encoder = ansible_json.get_module_encoder(PROFILE, ansible_json.Direction.CONTROLLER_TO_MODULE)
        return json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=encoder).encode()
    text = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}, cls=ansible_json.AnsibleJSONEncoder, vault_to_text=True)
    return text.encode()


def _forked(name: str, arguments: bytes, environment: t.Mapping[str, str]) -> Json:
    """What the module's process says: stdout, stderr, rc. It ends when we are ended."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        pid = os.fork()
        if pid == 0:
            _child(name, arguments, environment, stdout.fileno(), stderr.fileno())
        try:
            status = os.waitpid(pid, 0)[1]
        except BaseException:  # a task's timeout, for example
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            raise
        said = {}
        for key, file in (("stdout", stdout), ("stderr", stderr)):
            file.seek(0)
            said[key] = file.read().decode(errors="replace")
        return {**said, "rc": os.waitstatus_to_exitcode(status)}


def _child(name: str, arguments: bytes, environment: t.Mapping[str, str], stdout: int, stderr: int) -> t.NoReturn:
    """Calls main(). What is to be done at the worker's exit is not ours; what the module adds to it is."""
    code: t.Any = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        atexit._clear()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False)) for number in (1, 2))
        os.environ.update(environment)
        basic._ANSIBLE_ARGS = arguments
        if _profiles():
            basic._ANSIBLE_PROFILE = PROFILE
            # Else warnings would be shown here, and not be in the answer.
            vars(importlib.import_module("ansible.module_utils._internal")).update(is_controller=False)
        importlib.import_module(f"{MODULES}.{name}").main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for file in (sys.stdout, sys.stderr):
            file.flush()
        os._exit(code if isinstance(code, int) else int(bool(code)))


__all__ = ("PACKED", "DirectAction")
