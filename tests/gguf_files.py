"""Tiny GGUF files, as llama.cpp would convert the tensors of a folder."""

from __future__ import annotations

from pathlib import Path

import gguf
import torch

import tiny


def write_gguf(
    path: Path,
    tensors: dict[str, torch.Tensor],
    *,
    family: str,
    quantize: str | None = None,
    part_tensors: int = 0,
    vectors: bool = False,
) -> Path:
    """The tensors of a Qwen2 or Llama folder as llama.cpp would convert them, perhaps cut into parts."""
    writer = gguf.GGUFWriter(path, family, split_max_tensors=part_tensors)
    writer.add_context_length(128)
    writer.add_embedding_length(tiny.HIDDEN)
    writer.add_block_count(tiny.LAYERS)
    writer.add_feed_forward_length(tiny.FEED_FORWARD)
    writer.add_head_count(tiny.HEADS)
    writer.add_head_count_kv(tiny.KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
    }
    for name, tensor in tensors.items():
        new = name.replace("model.layers.", "blk.")
        for old, short in names.items():
            new = new.replace(old, short)
        heads = {"attn_q.weight": tiny.HEADS, "attn_k.weight": tiny.KV_HEADS}.get(new.split(".", 2)[-1])
        if family == "llama" and heads:  # llama.cpp stores rotary pairs side by side
            tensor = tensor.view(heads, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        data = tensor.numpy()
        if quantize and (tensor.dim() == 2 or vectors):
            kind = gguf.GGMLQuantizationType[quantize]
            writer.add_tensor(new, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(new, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
