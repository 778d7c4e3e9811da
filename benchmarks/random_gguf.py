"""Writes a GGUF file shaped as Qwen-7B with random weights, for measuring speed.

    python benchmarks/random_gguf.py TARGET.gguf --type Q4_0 [--layers 32]

The architecture is Qwen2's with as many key-value heads as heads, which is Qwen-7B but for dynamic NTK and LogN; the
tokenizer is the demo model's. Every matrix, embedding and head included, is of the type.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

from qwen7b.evals import SHAPES
from qwen7b.hub import locate

# A block begins with its float16 scale; with these, weights spread by 0.02, as usual.
SCALES = {GGMLQuantizationType.Q4_0: 0.02 / 4.6, GGMLQuantizationType.Q8_0: 0.02 / 74}


def write_random_gguf(target: Path, type: GGMLQuantizationType, *, layers: int | None = None) -> None:
    shape = SHAPES["7b"]
    layers = layers or shape.num_layers
    hidden, forward, rows = shape.hidden_size, shape.feed_forward_size, shape.vocab_rows
    matrices = {"token_embd": (rows, hidden), "output": (rows, hidden)}
    vectors = {"output_norm.weight": hidden}
    for index in range(layers):
        block = f"blk.{index}."
        matrices |= {f"{block}attn_{name}": (hidden, hidden) for name in ("q", "k", "v", "output")}
        matrices |= {f"{block}ffn_{name}": (forward, hidden) for name in ("gate", "up")}
        matrices[f"{block}ffn_down"] = (hidden, forward)
        vectors |= {f"{block}attn_{name}.bias": hidden for name in ("q", "k", "v")}
        vectors |= {f"{block}{name}_norm.weight": hidden for name in ("attn", "ffn")}

    writer = GGUFWriter(target, "qwen2")
    writer.add_name("random weights shaped as Qwen-7B")
    writer.add_block_count(layers)
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(forward)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_file_type({GGMLQuantizationType.Q4_0: 2, GGMLQuantizationType.Q8_0: 7}[type])
    for name, field in GGUFReader(locate("demo")).fields.items():
        if name.startswith("tokenizer."):
            kinds = field.types
            item = kinds[-1] if kinds[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kinds[0], item)

    block_size, block_bytes = GGML_QUANT_SIZES[type]
    for name, size in vectors.items():
        writer.add_tensor_info(name, (size,), np.dtype(np.float32), 4 * size)
    for name, (height, width) in matrices.items():
        row_bytes = width // block_size * block_bytes
        writer.add_tensor_info(f"{name}.weight", (height, row_bytes), np.dtype(np.uint8), height * row_bytes, type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, size in vectors.items():
        writer.write_tensor_data(np.full(size, name.endswith(".weight"), dtype=np.float32))
    blocks = np.random.default_rng(0).integers(0, 256, (1 << 16, block_bytes), dtype=np.uint8)
    blocks[:, :2] = np.array([SCALES[type]], dtype=np.float16).view(np.uint8)
    for height, width in matrices.values():
        tensor = np.resize(blocks, (height * (width // block_size), block_bytes))
        writer.write_tensor_data(tensor.reshape(height, -1))
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--type", choices=[type.name for type in SCALES], default="Q4_0")
    parser.add_argument("--layers", type=int)
    arguments = parser.parse_args()
    write_random_gguf(arguments.target, GGMLQuantizationType[arguments.type], layers=arguments.layers)


if __name__ == "__main__":
    main()
