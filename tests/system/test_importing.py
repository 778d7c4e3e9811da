"""Torch is imported without detours, and what could go wrong with that leaves the import as it is."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from qwen7b.system import importing


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


WATCH = """
import gc, sys
FREEZE
looks = []
def look(phase, info):
    if phase == "start" and "torch" in sys.modules and sys.modules["torch"].__spec__._initializing:
        looks.append(info["generation"])
gc.callbacks.append(look)
import qwen7b
looks.clear()
frozen, enabled = gc.get_freeze_count(), gc.isenabled()
qwen7b.load
assert not looks, looks  # without the pause there are over a hundred
assert gc.get_freeze_count() >= frozen * 0.9 and gc.isenabled() == enabled
import torch
assert len(gc.get_objects()) > 100_000 or FROZEN
"""


@pytest.mark.parametrize("freeze", ["", "gc.freeze()", "gc.disable()"])
def test_no_garbage_is_looked_for_while_torch_is_imported(freeze: str) -> None:
    frozen = str("freeze" in freeze)
    run(WATCH.replace("FREEZE", freeze).replace("FROZEN", frozen))


def test_torch_computes_whatever_becomes_of_its_library_aside() -> None:
    for library in ("importing._torch_library()", "None", "importing.Path('/nowhere/libtorch_cpu.so')"):
        program = f"""
import threading
from qwen7b.system import importing
library = {library}
importing._torch_library = lambda: library
with importing.loading_torch_library():
    pass
import torch
print((torch.ones(2, 3) @ torch.ones(3, 2)).sum().item(), threading.active_count())
"""
        assert run(program) == "12.0 1\n"


@pytest.mark.skipif(importing._torch_library() is None, reason="needs torch's CPU build for Linux")
def test_the_library_is_there_before_torch_is_imported() -> None:
    program = """
import sys
from pathlib import Path
from qwen7b.system.importing import loading_torch_library
with loading_torch_library():
    pass
print("torch" in sys.modules, "libtorch_cpu.so" in Path("/proc/self/maps").read_text())
"""
    assert run(program) == "False True\n"


@pytest.mark.skipif(importing._torch_library() is None, reason="needs torch's CPU build for Linux")
def test_python_goes_on_while_the_library_is_loaded() -> None:
    program = """
import threading, time
from qwen7b.system.importing import loading_torch_library
ours, all_threads = time.thread_time(), time.process_time()
with loading_torch_library():
    while threading.active_count() > 1:
        pass
ours, all_threads = time.thread_time() - ours, time.process_time() - all_threads
print(ours > all_threads / 5)
"""
    assert run(program) == "True\n"


def test_an_imported_torch_is_not_loaded_again() -> None:
    program = """
import torch
from qwen7b.system import importing
importing._load = print
with importing.loading_torch_library():
    pass
"""
    assert run(program) == ""


def test_an_interrupted_import_can_be_made_again() -> None:
    program = """
from qwen7b.system.importing import quick_imports
try:
    with quick_imports():
        raise KeyboardInterrupt
except KeyboardInterrupt:
    import gc, qwen7b
    assert gc.isenabled()
    print(qwen7b.Qwen)
"""
    assert "Qwen" in run(program)


@pytest.mark.parametrize("name", ["Greedy", "Sample", "Piece", "Reply", "Message", "load_tokenizer", "ModelConfig"])
def test_what_is_asked_and_given_back_needs_no_torch(name: str) -> None:
    assert run(f"import sys, qwen7b; qwen7b.{name}; print('torch' in sys.modules)") == "False\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["libtorch_cpu.so"], True),
        (["libtorch_cpu.so", "libtorch_cuda.so"], False),
        (["libtorch_cpu.so", "libtorch_hip.so"], False),
        (["libtorch_cpu.dylib"], False),
        ([], False),
    ],
)
def test_only_the_library_of_a_cpu_build_is_loaded_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], found: bool
) -> None:
    (tmp_path / "lib").mkdir()
    for name in files:
        (tmp_path / "lib" / name).touch()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importing, "find_spec", lambda name: spec)
    assert importing._torch_library() == (tmp_path / "lib" / "libtorch_cpu.so" if found else None)


@pytest.mark.parametrize("spec", [None, SimpleNamespace(origin=None)])
def test_without_torch_there_is_nothing_to_load(monkeypatch: pytest.MonkeyPatch, spec: object) -> None:
    monkeypatch.setattr(importing, "find_spec", lambda name: spec)
    assert importing._torch_library() is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that a process works in")
@pytest.mark.parametrize("call", ["qwen7b.load('demo')", "qwen7b.load_model('demo')", "main()"])
def test_a_working_directory_that_is_gone_is_said(tmp_path: Path, call: str) -> None:
    program = f"""
import os, sys
os.chdir({str(tmp_path)!r})
os.rmdir({str(tmp_path)!r})
import qwen7b
from qwen7b.__main__ import main
sys.argv = ["qwen7b", "doctor", "model"]
try:
    {call}
except qwen7b.ResourceError as error:
    sys.exit(f"error: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "error: the working directory no longer exists (No such file or directory)" in done.stderr


@pytest.mark.parametrize("face", ["checkpoint", "convert", "generate", "loading"])
def test_a_room_gives_what_it_names_and_nothing_else(face: str) -> None:
    room = import_module(f"qwen7b.{face}")
    for name in room.__all__:
        assert getattr(room, name) is not None
    with pytest.raises(AttributeError, match=f"module 'qwen7b.{face}' has no attribute 'lod'"):
        room.lod  # noqa: B018


def test_a_room_is_imported_without_torch_until_a_name_needs_it() -> None:
    program = """
import sys
import qwen7b.checkpoint, qwen7b.convert, qwen7b.generate, qwen7b.loading, qwen7b.hub, qwen7b.packing, qwen7b.packed
assert "torch" not in sys.modules
qwen7b.checkpoint.GenerationSettings, qwen7b.loading.load_tokenizer, qwen7b.generate.Greedy
assert "torch" not in sys.modules
qwen7b.loading.load_model
print("torch" in sys.modules)
"""
    assert run(program) == "True\n"
