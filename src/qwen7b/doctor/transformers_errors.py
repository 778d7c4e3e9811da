"""What breaks where Transformers and the code of a model, ours or a checkpoint's, are of different dates."""

from __future__ import annotations

from qwen7b.doctor.known_error import known_error

TRANSFORMERS_ERRORS = (
    known_error(
        "qwen7b older than Transformers",
        r"QWen(Attention|Block|Model|MLP)\.forward\(\) (got multiple values for argument|missing \d+ required)",
        r"QWen(Attention|Block)\.forward\(\) got an unexpected keyword argument",
        r"create_causal_mask\(\) (got an unexpected keyword argument|missing \d+ required)",
        r"is deprecated and will be removed in version [\d.]+ for `create_causal_mask`",
        r"__init__\(\) got an unexpected keyword argument '(past_key_values|cache)'",
        r"qwen7b[/\\]hf[/\\]\w+\.py[^\0]*?ImportError: cannot import name '\w+' from 'transformers",
        cause="this Transformers is newer than this qwen7b: with its releases the names change under which it passes "
        "the cache, masks and positions to attention",
        remedy="bring qwen7b up to date where it was installed from (git pull, then install it again with its extra "
        "hf), or take Transformers back to what its pyproject.toml names; qwen7b.load(path) needs no Transformers",
        source="Transformers 5.24",
    ),
    known_error(
        "new arguments for old remote code",
        r"QWen(LMHeadModel|Model)\.forward\(\) got (an unexpected keyword argument|multiple values for argument)",
        r"prepare_inputs_for_generation\(\) (got an unexpected keyword argument|missing \d+ required)",
        cause="Transformers passes arguments to the model that the checkpoint's modeling_qwen.py of 2023 does not "
        "know, such as cache_position or logits_to_keep",
        remedy="import qwen7b.hf before the Auto classes and leave the rest of the script as it is, or "
        "qwen7b.load(path).chat(…) without Transformers",
        source="LLaMA-Factory #1809; ms-swift #4324",
    ),
)
