# SPDX-License-Identifier: Apache-2.0
"""The phases of each tier, as data. design.md's ladder: cheapest first; a phase names what it stands on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

PYTHON = sys.executable
PYTEST = [PYTHON, "-m", "pytest", "-q"]
# On the lab a test takes minutes: its name is printed when it starts, and the times at the end.
LAB_SAYS = ["lab/lab", "diagnose"]
LAB_PYTEST = [PYTHON, "-u", "-m", "pytest", "--verbose", "--durations=0", "--durations-min=5"]


@dataclass(frozen=True)
class Phase:
    """One command with a name.

    about: how long it usually takes, for the reader. after: names of phases that must have passed.
    live: shown as it runs, otherwise only its end is. own_cluster: may see the user's KUBECONFIG.
    on_lab: when it fails, the lab is asked how it is. gives_way: leaves the processor to the lab, which is measured by
    time limits while the phase beside it is not. minutes: after that it hangs, and is ended.
    """

    name: str
    argv: list[str]
    about: str = "seconds"
    after: tuple[str, ...] = ()
    live: bool = False
    own_cluster: bool = False
    on_lab: bool = False
    gives_way: bool = False
    minutes: float = 40
    env: dict[str, str] = field(default_factory=dict)


def make(folder: str, target: str) -> list[str]:
    return ["make", "--no-print-directory", "-C", folder, target]


def check(extra: list[str]) -> list[Phase]:
    return [
        Phase("sanity", ["tests/sanity.sh"], "1 min"),
        Phase("ansible-lint", ["ansible-lint", "--strict"], "30 s"),
        Phase("ruff", ["sh", "-c", "ruff check . && ruff format --check ."]),
        Phase("mypy", ["tests/types.sh"], "30 s"),
        Phase("shell, containers, C, YAML, spelling", ["tests/lint.sh"], "10 s"),
        Phase("unit", [*PYTEST, "tests/unit", "lab/tests"], "20 s"),
        Phase("house rules", [*PYTEST, "tests/repo"], "20 s"),
        Phase("kernel module", make("files/kernel_module", "check"), "10 s"),
        Phase("driver container", make("files/driver_container", "check")),
        Phase("device plugin", make("files/device_plugin", "check"), "1 min"),
        Phase("consumer", make("files/consumer", "check")),
        Phase("operator", make("files/operator", "check"), "20 s"),
        Phase("collection docs", ["tests/docs.sh"], "15 s"),
        Phase("importer", ["tests/importer.sh"], "40 s"),
        Phase("API server", [*PYTEST, "tests/api", "-m", "not slow"], "1 min; builds Kubernetes the first time, 7 min"),
    ]


def lab_up() -> Phase:
    return Phase("lab up", ["lab/lab", "up"], "1 min, the first time 10 min", live=True, on_lab=True)


def new_lab() -> Phase:
    """What a test finds must not hang on what an earlier run, a killed one or a demo, left in the lab."""
    script = "lab/lab down && exec lab/lab up"
    return Phase("lab up", ["sh", "-c", script], "2 min, the first time 10 min", live=True, on_lab=True)


def on_lab(
    name: str, argv: list[str], about: str, after: str, live: bool = False, minutes: float = Phase.minutes
) -> Phase:
    return Phase(name, argv, about, (after,), live=live, on_lab=True, minutes=minutes)


def demo(extra: list[str]) -> list[Phase]:
    site = ["lab/lab", "play", "playbooks/site.yml", *extra]
    return [lab_up(), on_lab("site.yml", site, "3 min, the first time 6", "lab up", live=True)]


def other_cluster(kubeconfig: str | None, yes: bool, extra: list[str]) -> list[Phase]:
    argv = ["tests/other_cluster.sh", str(kubeconfig), "yes" if yes else "ask", *extra]
    # A person sits before it, who may think it over before saying yes, and whose cluster may be large.
    return [Phase("site.yml", argv, "minutes", live=True, own_cluster=True, minutes=24 * 60)]


# What takes a test its long counts.
SOAK = {"ACCELERATOR_SOAK": "1"}
# Of the tier soak: together they take an hour, which CI does not have beside the rest.
OWN_DRIVER, NODE_SUITE = "tests/lab/site/test_8_own_driver.py", "tests/lab/test_kernel_module.py"
TWO_KERNELS = "tests/lab/test_two_kernels.py"
# Of these make test has the faster cases.
BREAKAGES, DRILL = "tests/lab/site/test_2_breakages.py", "tests/lab/site/test_2_drill.py"
TIMES = "tests/lab/site/test_2_times.py"


def test(extra: list[str]) -> list[Phase]:
    # The lab's phases wait for one another and take longest, so they come first; the checks run beside them.
    beside = [
        *check(extra),
        Phase("operator on an API server", make("files/operator", "test"), "3 min", ("operator",)),
        Phase("roles on an API server", [*PYTEST, "tests/api", "-m", "slow"], "3 min", ("API server",)),
        Phase("images", [*PYTEST, "tests/image"], "4 min", ("lab up",)),
        Phase("package lists", ["tests/apt_lists.sh"], after=("lab up",)),
        Phase(
            "kernel module builds", make("files/kernel_module", "matrix"), "3 min", ("kernel module", "package lists")
        ),
        Phase(
            "kernel module in User-Mode Linux",
            make("files/kernel_module", "uml"),
            "6 min; builds a kernel the first time, 10 min",
            ("kernel module", "package lists"),
            minutes=60,
        ),
    ]
    return [
        new_lab(),
        on_lab(
            "site on the lab",
            [*LAB_PYTEST, "tests/lab/site", *(f"--ignore={path}" for path in (OWN_DRIVER, TIMES))],
            "50 min",
            "lab up",
            minutes=75,
        ),
        on_lab("molecule", ["tests/molecule.sh", "default"], "8 min", "site on the lab"),
        on_lab("ansible-core 2.18", ["tests/core_2_18.sh"], "1 min", "molecule"),
        on_lab(
            "lab itself",
            [*LAB_PYTEST, "tests/lab", *(f"--ignore={path}" for path in ("tests/lab/site", NODE_SUITE, TWO_KERNELS))],
            "8 min",
            "ansible-core 2.18",
        ),
        *(replace(phase, gives_way=True) for phase in beside),
    ]


def soak(extra: list[str]) -> list[Phase]:
    # Ratios: on a machine that does other things they say little, so no test asks for them.
    bench = on_lab("kernel module bench", make("files/kernel_module", "bench"), "5 min", "every scenario")
    return [
        new_lab(),
        on_lab("every scenario", ["tests/molecule.sh", "--all"], "1 h", "lab up", minutes=300),
        on_lab("kernel module in the node", [*LAB_PYTEST, NODE_SUITE], "6 min", "every scenario"),
        on_lab("own driver", [*LAB_PYTEST, OWN_DRIVER], "8 min", "every scenario"),
        on_lab("site again", ["lab/lab", "play", "playbooks/site.yml"], "3 min", "own driver"),
        replace(
            on_lab("drills and breakages", [*LAB_PYTEST, BREAKAGES, DRILL, TIMES], "35 min", "site again", minutes=75),
            env=SOAK,
        ),
        on_lab("two kernels", [*LAB_PYTEST, TWO_KERNELS], "15 min", "drills and breakages"),
        bench,
        Phase("device plugin, long counts", make("files/device_plugin", "soak"), "5 min"),
        Phase(
            "5,000 nodes",
            [*PYTEST, "tests/api/test_scale.py"],
            "10 min; builds Kubernetes the first time, 7 min",
            env=SOAK,
        ),
    ]


TIERS: dict[str, Callable[[list[str]], list[Phase]]] = {
    "demo": demo,
    "check": check,
    "test": test,
    "soak": soak,
}
CLUSTER_PHASES = other_cluster
