"""What the benchmarks make of numbers and files; no other program is run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import qwen7b
from qwen7b.evals import SHAPES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module
    for name in [
        name for name, module in sys.modules.items() if str(BENCHMARKS) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


def result(program: str, bits: int, prefill: float, decode: float, **more: Any) -> dict[str, Any]:
    about = {"program": program, "model": "7b", "weights": f"w{bits}", "bits": bits, "load_seconds": None}
    return {**about, "prefill": prefill, "decode": decode, "peak_memory_bytes": 5e9, **more}


def test_ratios_are_to_ours_of_the_same_bits(benchmark_module: Any) -> None:
    limits = {"read_bytes_per_second": 25e9, "int8_ops_per_second": 1.3e12}
    shares = {"decode_bandwidth_share": 0.87, "prefill_int8_share": 0.6}
    report = {
        "command": "python benchmarks/peers.py",
        "processor": "a processor",
        "threads": 2,
        "prompt_tokens": 512,
        "new_tokens": 64,
        "context": 16,
        "rounds": 3,
        "requirements": ["a==1"],
        "failed": {"7b, b": "out of memory"},
        "results": [
            result("qwen7b", 4, 60, 6, **limits, **shares),
            result("llama.cpp", 4, 12, 2.5),
            result("Transformers", 16, 10, 1),
        ],
    }
    section = benchmark_module("performance_page").section(report)
    assert "| qwen7b | w4 | 60.0 |  | 6.0 |  |  | 5.0 GB |" in section
    assert "| llama.cpp | w4 | 12.0 | 5.0 | 2.5 | 2.4 |  | 5.0 GB |" in section
    assert "| Transformers | w16 | 10.0 |  | 1.0 |  |  | 5.0 GB |" in section
    assert "reads 87% of the 25.0 GB/s" in section and "with 60% of the 1.30 TOP/s" in section
    assert "7b, b failed: out of memory" in section


def test_the_page_has_the_place_that_is_written(benchmark_module: Any) -> None:
    module = benchmark_module("performance_page")
    page = (BENCHMARKS.parent / "docs" / "performance.md").read_text("utf-8")
    assert page.count(module.BEGIN) == page.count(module.END) == 1


def test_nf4_is_that_of_bitsandbytes(benchmark_module: Any) -> None:
    functional = pytest.importorskip("bitsandbytes.functional", reason="bitsandbytes is not installed")
    weight = torch.randn(64, 128)
    expected = functional.dequantize_4bit(*functional.quantize_4bit(weight, blocksize=64, quant_type="nf4"))
    assert torch.equal(benchmark_module("quantization").round_nf4(weight), expected)


@pytest.mark.demo
def test_a_random_gguf_loads(
    benchmark_module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo_gguf: Path
) -> None:
    small = replace(SHAPES["7b"], hidden_size=64, num_heads=2, num_kv_heads=2, head_size=32, feed_forward_size=96)
    monkeypatch.setitem(SHAPES, "7b", small)
    module = benchmark_module("random_gguf")
    module.write_random_gguf(tmp_path / "a.gguf", module.GGMLQuantizationType.Q4_0, layers=1)
    qwen = qwen7b.load(tmp_path / "a.gguf", quantize="none")
    assert qwen.model.layers[0].feed_forward.up.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert qwen.complete("a", sampling=qwen7b.Greedy(), max_new_tokens=2).usage.completion_tokens == 2


def test_quantities_are_asked_for_that_were_not_learned(benchmark_module: Any) -> None:
    fine_tuning = benchmark_module("fine_tuning")
    examples = fine_tuning.examples(0, 300)
    assert len(dict(examples)) == 300 and examples[:200] == fine_tuning.examples(0, 200)
    for text, answer in examples:
        quantity = json.loads(answer)
        assert str(quantity["value"]) in text.replace(",", "")
        assert any(name in text for name in fine_tuning.UNITS[quantity["unit"]])


def test_replies_are_equal_up_to_what_ends_them(benchmark_module: Any) -> None:
    count_equal = benchmark_module("fine_tuning").count_equal
    assert count_equal([[1, 2], [3], [4]], [[1, 2, 9], [3, 5], [4, 9, 9]], stop={9}) == 2


def test_learning_crosses_a_compressor_where_it_stays_below(benchmark_module: Any) -> None:
    learning = benchmark_module("learning")
    ours = {1.0: 4.0, 2.01: 3.0, 3.0: 3.4, 4.0: 2.5}
    assert [learning.until(ours, minute, slack=0.01) for minute in (0.5, 2, 3.5)] == [None, 3.0, 3.4]
    assert learning.crossing(ours, {1.0: 3.3, 4.0: 2.9}) == 4.0
    assert learning.crossing(ours, {2.01: 3.5, 4.0: 3.5}) == 2.01
    assert learning.crossing(ours, {4.0: 2.4}) is None
