# SPDX-License-Identifier: Apache-2.0
"""ptemplate_core.c, compiled with sanitizers, against the plainest model in Python, by random sequences of operations.

`make check` builds build/core_driver and runs this. A sanitizer's report ends that program, which fails the test.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PROGRAM = Path(__file__).parents[1] / "build/core_driver"
# Each example is its own, also in one process: it starts with "new".
EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Core:
    """The program; one line in, one line out."""

    def __init__(self) -> None:
        assert PROGRAM.exists(), f"no {PROGRAM}; next: make -C {PROGRAM.parents[1]} check"
        self._process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *words: object) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the program ended at {words[0]}: a sanitizer's report is above"
        return answer.rstrip("\n")

    def close(self) -> int:
        self._process.communicate()
        return self._process.returncode


@pytest.fixture(scope="module")
def core() -> Iterator[Core]:
    program = Core()
    yield program
    assert program.close() == 0, "the program's end, where the leak checker speaks"


class Model:
    """A device as README.md describes it."""

    def __init__(self, capacity: int, text: bytes) -> None:
        self.capacity = capacity
        self.data = text[:capacity]

    def read(self, pos: int, count: int) -> bytes:
        return self.data[pos : pos + count]

    def write(self, pos: int, data: bytes) -> int:
        data = data[: max(0, self.capacity - pos)]
        if data:
            padded = self.data.ljust(pos, b"\0")
            self.data = padded[:pos] + data + padded[pos + len(data) :]
        return len(data)


def x(data: bytes) -> str:
    return "x" + data.hex()


TEXT = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"0"))  # a C string
POS = st.one_of(st.integers(0, 48), st.sampled_from([2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1]))
COUNT = st.one_of(st.integers(0, 48), st.sampled_from([2**31 - 1, 2**32, 2**63, 2**64 - 1]))
DATA = st.binary(max_size=48)
STEP = st.one_of(
    st.tuples(st.just("read"), POS, COUNT),
    st.tuples(st.just("corrupted read"), POS, COUNT),
    st.tuples(st.just("write"), POS, DATA),
    st.tuples(st.just("append"), DATA),
    st.tuples(st.just("fill"), TEXT),
    st.just(("truncate",)),
)


def step(core: Core, model: Model, verb: str, *values: object) -> tuple[object, object]:
    """Does it to both; what each answered."""
    match verb, values:
        case "read", (int(pos), int(count)):
            return core("read", pos, count), x(model.read(pos, count))
        case "corrupted read", (int(pos), int(count)):
            wanted = model.read(pos, count)
            seen = bytes.fromhex(core("read", pos, count, "flip")[1:])
            wrong = sum((a ^ b).bit_count() for a, b in zip(seen, wanted, strict=True))
            return wrong, int(bool(wanted))  # one bit, wherever there is one
        case "write", (int(pos), bytes(data)):
            return core("write", pos, x(data)), str(model.write(pos, data))
        case "append", (bytes(data),):
            return core("append", x(data)), str(model.write(len(model.data), data))
        case "fill", (bytes(text),):
            model.data = text[: model.capacity]
            return core("fill", x(text)), str(int(len(text) > model.capacity))
        case "truncate", ():
            model.data = b""
            return core("truncate"), "0"
    raise AssertionError(verb)


@EXAMPLES
@given(capacity=st.integers(1, 40), text=TEXT, steps=st.lists(STEP, max_size=40))
def test_operations_agree_with_the_model(
    core: Core, capacity: int, text: bytes, steps: list[tuple[str, *tuple[object, ...]]]
) -> None:
    model = Model(capacity, text)
    assert core("new", capacity, x(text)) == str(int(len(text) > capacity))
    for one in steps:
        seen, wanted = step(core, model, *one)
        assert seen == wanted, one
        assert core("content") == x(model.data), one


INT = st.integers(-(2**31), 2**31 - 1)


@EXAMPLES
@given(value=INT, bounds=st.tuples(INT, INT).map(sorted))
def test_clamp(core: Core, value: int, bounds: list[int]) -> None:
    wanted = min(max(value, bounds[0]), bounds[1])
    assert core("clamp", value, *bounds) == f"{wanted} {int(wanted != value)}"


@EXAMPLES
@given(mode=st.one_of(st.integers(0, 0o7777), st.integers(0, 2**32 - 1)))
def test_mode(core: Core, mode: int) -> None:
    good = mode != 0 and mode & 0o666 == mode
    assert core("mode", mode) == f"{mode if good else 0o660} {int(not good)}"


FAULTS = {
    "none": "0 none ok 0",
    "error": "1 error failed 1",
    "hang": "2 hang hung 2",
    "corrupt": "3 corrupt ok 0",
    "removed": "4 removed removed 1",
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("end", ["", "\n", " \t\n"])
def test_fault_names(core: Core, name: str, end: str) -> None:
    assert core("fault", x((name + end).encode())) == FAULTS[name]


@EXAMPLES
@given(text=st.one_of(TEXT, st.sampled_from([b"", b"\n", b"hang none", b"han", b"hangs", b" hang", b"NONE"])))
def test_other_texts_are_no_fault(core: Core, text: bytes) -> None:
    if text.rstrip(b" \t\n").decode(errors="replace") not in FAULTS:
        assert core("fault", x(text)) == "-1"
