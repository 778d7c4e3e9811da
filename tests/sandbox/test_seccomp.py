"""The filter's program, run by a small machine like the kernel's: on both processors, whichever this one is."""

from __future__ import annotations

import pytest

from qwen7b.sandbox.denied_calls import NEWEST_KNOWN, NUMBERS, rules

seccomp = pytest.importorskip("qwen7b.sandbox.seccomp")

ALLOWED, REFUSED, UNKNOWN, KILLED = 0x7FFF_0000, 0x0005_0001, 0x0005_0026, 0x8000_0000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
Instruction = tuple[int, int, int, int]
COMMON = {  # names that every program needs: read, write, mmap, execve, exit_group, futex, openat
    "x86_64": (0, 1, 9, 59, 231, 202, 257),
    "aarch64": (63, 64, 222, 221, 94, 98, 56),
}


def answer(program: list[Instruction], number: int, architecture: int, *arguments: int) -> int:
    """What the filter says to a call."""
    words = {
        0: number,
        4: architecture,
        **{16 + 8 * place: value & 0xFFFF_FFFF for place, value in enumerate(arguments)},
    }
    step, accumulator = 0, 0
    while True:
        operation, then, otherwise, operand = program[step]
        step += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            accumulator = words.get(operand, 0)
            continue
        holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x45: bool(accumulator & operand)}[
            operation
        ]
        step += then if holds else otherwise


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def program_of(machine: str, *, user: bool = True, files: bool = True, version: int = 1) -> list[Instruction]:
    denied = rules(shares_user=user, shares_files=files, landlock_version=version)
    found: list[Instruction] = list(seccomp.assemble(denied, machine))
    assert len(found) < 4096 and all(max(then, otherwise) < 256 for _, then, otherwise, _ in found)
    return found


def test_every_name_has_a_number_and_every_number_a_rule() -> None:
    names = {rule.name for rule in rules(shares_user=True, shares_files=True, landlock_version=1)}
    assert names == set(NUMBERS)
    for place in (0, 1):
        numbers = [both[place] for both in NUMBERS.values() if both[place] is not None]
        assert len(set(numbers)) == len(numbers)


def test_denied_calls_are_refused_and_the_others_allowed(machine: str) -> None:
    program, architecture = program_of(machine), ARCHITECTURES[machine]
    every = rules(shares_user=True, shares_files=True, landlock_version=1)
    conditional = {rule.name for rule in every if rule.argument is not None}
    refused = set()
    for name, numbers in NUMBERS.items():
        number = numbers[machine == "aarch64"]
        if name not in conditional and number is not None:
            assert answer(program, number, architecture) == (UNKNOWN if name == "clone3" else REFUSED), name
            refused.add(number)
    for number in range(NEWEST_KNOWN + 1):
        if number not in {numbers[machine == "aarch64"] for numbers in NUMBERS.values()}:
            assert answer(program, number, architecture) == ALLOWED
    for number in COMMON[machine]:
        assert number not in refused and answer(program, number, architecture) == ALLOWED


def test_other_worlds(machine: str) -> None:
    program, architecture = program_of(machine), ARCHITECTURES[machine]
    assert answer(program, 0, 0x4000_0003) == KILLED
    assert answer(program, NEWEST_KNOWN + 1, architecture) == UNKNOWN
    if machine == "x86_64":  # the 32-bit calls under other numbers
        assert answer(program, 0x4000_0000 + 41, architecture) == KILLED


@pytest.mark.parametrize(
    ("name", "arguments", "is_allowed"),
    [
        ("socketpair", (1, 1), True),
        ("socketpair", (1, 1 | 0x80000), True),
        ("socketpair", (1, 2), False),
        ("socketpair", (2, 1), False),
        ("clone", (0x1200011,), True),
        ("clone", (0x10000000,), False),
        ("clone", (0x20000,), False),
        ("clone", (0x7E02_0000,), False),
        ("prlimit64", (0, 4), True),
        ("prlimit64", (1, 4), False),
        ("sched_setaffinity", (0,), True),
        ("sched_setaffinity", (77,), False),
        ("fallocate", (3, 0), True),
        ("fallocate", (3, 1), False),
        ("prctl", (15,), True),
        ("prctl", (1,), False),
        ("prctl", (4,), False),
        ("fcntl", (3, 2), True),
        ("fcntl", (3, 8), False),
        ("fcntl", (3, 15), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 0x5412 | 1 << 32), False),
    ],
)
def test_arguments_decide(name: str, arguments: tuple[int, ...], is_allowed: bool, machine: str) -> None:
    number = NUMBERS[name][machine == "aarch64"]
    assert number is not None
    found = answer(program_of(machine), number, ARCHITECTURES[machine], *arguments)
    assert found == (ALLOWED if is_allowed else REFUSED)


def test_what_landlock_does_is_left_to_it(machine: str) -> None:
    column, architecture = machine == "aarch64", ARCHITECTURES[machine]

    def says(name: str, *, user: bool, files: bool, version: int) -> int:
        number = NUMBERS[name][column]
        assert number is not None
        return answer(program_of(machine, user=user, files=files, version=version), number, architecture, 5)

    for name, first in (("kill", 6), ("tgkill", 6), ("truncate", 3)):
        assert says(name, user=True, files=True, version=first - 1) == REFUSED
        assert says(name, user=True, files=True, version=first) == ALLOWED
        assert says(name, user=False, files=False, version=0) == ALLOWED
    assert says("kill", user=True, files=False, version=0) == REFUSED
    assert says("truncate", user=True, files=False, version=0) == ALLOWED
    assert says("fchmod", user=True, files=True, version=9) == REFUSED
    assert says("fchmod", user=True, files=False, version=9) == ALLOWED


def test_a_machine_without_protection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is taken from this process, in which the test runs."""
    confinement = pytest.importorskip("qwen7b.sandbox.confinement")
    monkeypatch.setattr(seccomp, "machine", lambda: None)
    with pytest.raises(OSError, match="filtered on x86_64 and aarch64 only, and this is "):
        seccomp.install_filter([])
    monkeypatch.setattr(confinement, "landlock_version", lambda: 0)
    to = confinement.Confinement(
        folder="", readable=(), user=None, in_bubblewrap=False, seconds=1, memory_bytes=1, disk_bytes=1, processes=1
    )
    with pytest.raises(OSError, match="no Landlock, or it is switched off"):
        confinement.confine(to, lets_look=True)
