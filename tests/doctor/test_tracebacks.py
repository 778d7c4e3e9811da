"""Old tracebacks, as they are printed, and what the doctor makes of them."""

from __future__ import annotations

import pytest

from qwen7b.doctor import explain_traceback
from qwen7b.doctor.known_errors import KNOWN_ERRORS
from qwen7b.errors import PromptError

REMOTE = "/root/.cache/huggingface/modules/transformers_modules/Qwen-7B-Chat"


def traceback(last: str, *frames: str) -> str:
    lines = ["Traceback (most recent call last):", '  File "demo.py", line 7, in <module>']
    lines += ['    model = AutoModelForCausalLM.from_pretrained("Qwen-7B-Chat", trust_remote_code=True)']
    return "\n".join([*lines, *frames, last])


LINES = [
    (
        "qwen7b older than Transformers",
        "TypeError: QWenAttention.forward() got multiple values for argument 'cache'",
    ),
    (
        "qwen7b older than Transformers",
        "TypeError: QWenAttention.forward() got an unexpected keyword argument 'past_key_values'",
    ),
    (
        "qwen7b older than Transformers",
        "TypeError: create_causal_mask() got an unexpected keyword argument 'input_embeds'",
    ),
    (
        "qwen7b older than Transformers",
        "FutureWarning: `past_key_values` is deprecated and will be removed in version 5.40.0 for "
        "`create_causal_mask`. Use `cache` instead.",
    ),
    (
        "qwen7b older than Transformers",
        "TypeError: BaseModelOutputWithPast.__init__() got an unexpected keyword argument 'past_key_values'",
    ),
    (
        "new arguments for old remote code",
        "TypeError: QWenLMHeadModel.forward() got an unexpected keyword argument 'cache_position'",
    ),
    (
        "new arguments for old remote code",
        "TypeError: QWenLMHeadModel.forward() got an unexpected keyword argument 'logits_to_keep'",
    ),
    (
        "transformers_stream_generator",
        "ImportError: This modeling file requires the following packages that were not found in your environment: "
        "transformers_stream_generator. Run `pip install transformers_stream_generator`",
    ),
    (
        "transformers_stream_generator",
        "ImportError: cannot import name 'BeamSearchScorer' from 'transformers' "
        "(/usr/lib/python3/site-packages/transformers/__init__.py)",
    ),
    (
        "tokenizer without mergeable_ranks",
        "AttributeError: 'QWenTokenizer' object has no attribute 'mergeable_ranks'",
    ),
    (
        "tokenizer without mergeable_ranks",
        "AttributeError: QWenTokenizer has no attribute mergeable_ranks",
    ),
    ("GenerationMixin split off", "AttributeError: 'QWenLMHeadModel' object has no attribute 'generate'"),
    ("tuple caches", "AttributeError: 'DynamicCache' object has no attribute 'shape'"),
    ("tuple caches", "TypeError: 'DynamicCache' object is not subscriptable"),
    (
        "Transformers 5 internals",
        "AttributeError: 'QWenLMHeadModel' object has no attribute 'all_tied_weights_keys'. Did you mean: "
        "'_tied_weights_keys'?",
    ),
    ("Transformers 5 internals", "ModuleNotFoundError: No module named 'transformers.deepspeed'"),
    ("auto_gptq missing", "ModuleNotFoundError: No module named 'auto_gptq'"),
    (
        "auto_gptq missing",
        "ImportError: Loading a GPTQ quantized model requires optimum (`pip install optimum`) and auto-gptq library "
        "(`pip install auto-gptq`)",
    ),
    (
        "auto_gptq missing",
        "ValueError: Found modules on cpu/disk. Using Exllama or Exllamav2 backend requires all the modules to be on "
        "GPU.You can deactivate exllama backend by setting `disable_exllama=True` in the quantization config object",
    ),
    (
        "flash-attn",
        "ValueError: QWenLMHeadModel does not support Flash Attention 2.0 yet. Please request to add support where the "
        "model is hosted",
    ),
    (
        "flash-attn",
        "Warning: import flash_attn rotary fail, please install FlashAttention rotary to get higher efficiency "
        "https://github.com/Dao-AILab/flash-attention/tree/main/csrc/rotary",
    ),
    (
        "flash-attn",
        "Warning: import flash_attn rms_norm fail, please install FlashAttention layer_norm to get higher efficiency "
        "https://github.com/Dao-AILab/flash-attention/tree/main/csrc/layer_norm",
    ),
    ("half precision on a CPU", "RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'"),
    ("half precision on a CPU", "RuntimeError: \"LayerNormKernelImpl\" not implemented for 'Half'"),
    (
        "QWenTokenizer unknown",
        "ValueError: Tokenizer class QWenTokenizer does not exist or is not currently imported.",
    ),
    (
        "trust_remote_code",
        "ValueError: Loading Qwen/Qwen-7B-Chat requires you to execute the configuration file in that repo on your "
        "local machine. Make sure you have read the code there to avoid malicious use, then set the option "
        "`trust_remote_code=True` to remove this error.",
    ),
    (
        "trust_remote_code",
        "ValueError: The checkpoint you are trying to load has model type `qwen` but Transformers does not recognize "
        "this architecture. This could be because of an issue with the checkpoint, or because your version of "
        "Transformers is out of date.",
    ),
    (
        "tiktoken cannot download",
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='openaipublic.blob.core.windows.net', "
        "port=443): Max retries exceeded with url: /encodings/cl100k_base.tiktoken",
    ),
    (
        "hub unreachable",
        "OSError: We couldn't connect to 'https://huggingface.co' to load this file, couldn't find it in the cached "
        "files and it looks like Qwen/Qwen-7B-Chat is not the path to a directory containing a file named config.json.",
    ),
    (
        "einops missing",
        "ImportError: This modeling file requires the following packages that were not found in your environment: "
        "einops. Run `pip install einops`",
    ),
    ("tiktoken missing", "ModuleNotFoundError: No module named 'tiktoken'"),
    (
        "serving engine dropped QWenLMHeadModel",
        "ValueError: Model architectures ['QWenLMHeadModel'] are not supported for now. Supported architectures: "
        "dict_keys(['Qwen2ForCausalLM', 'Qwen3ForCausalLM'])",
    ),
    (
        "serving engine dropped QWenLMHeadModel",
        "RuntimeError: Can not find model with architectures: ['QWenLMHeadModel']",
    ),
    (
        "out of GPU memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 594.00 MiB. GPU 0 has a total capacity of 15.77 "
        "GiB of which 321.62 MiB is free.",
    ),
    (
        "inf or nan probabilities",
        "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
    ),
    (
        "LoRA target modules",
        "ValueError: Target modules {'v_proj', 'q_proj'} not found in the base model. Please check the target modules "
        "and try again.",
    ),
    ("ZeRO-3 with trained embeddings", "RuntimeError: 'weight' must be 2-D"),
    ("token id out of range", "IndexError: index out of range in self"),
    (
        "no padding token",
        "ValueError: Asking to pad but the tokenizer does not have a padding token. Please select a token to use as "
        "`pad_token` `(tokenizer.pad_token = tokenizer.eos_token e.g.)`",
    ),
    ("code and weights of different dates", "AttributeError: 'QWenConfig' object has no attribute 'n_embd'"),
    ("chat() is gone", "AttributeError: 'Qwen2ForCausalLM' object has no attribute 'chat'"),
    (
        "a base model asked to chat",
        "AssertionError: We detect you are probably using the pretrained model (rather than chat model) for chatting, "
        'since the chat_format in generation_config is not "chatml".',
    ),
    (
        "chat(stream=True)",
        "AssertionError: Pass argument `stream` to model.chat() is buggy, deprecated, and marked for removal. Please "
        "use model.chat_stream(...) instead of model.chat(..., stream=True).",
    ),
    ("trust_remote_code", "ModuleNotFoundError: No module named 'transformers_modules.Qwen-7B-Chat'"),
    (
        "ModelScope refuses the pipeline",
        "RuntimeError: Detected plugins or allow_remote field in the model configuration file, but "
        "trust_remote_code=True was not explicitly set.",
    ),
    (
        "ModelScope refuses the pipeline",
        "KeyError: 'qwen-chat is not in the pipelines registry group chat. Please make sure the correct version of "
        "ModelScope library is used.'",
    ),
    ("ModelScope refuses the pipeline", "ModuleNotFoundError: No module named 'swift'"),
    ("ModelScope lacks libraries", "ModuleNotFoundError: No module named 'addict'"),
    (
        "ModelScope has no such model",
        "requests.exceptions.HTTPError: The request resource(model or dataset) does not exist!,",
    ),
    (
        "ModelScope has no such model",
        "modelscope.hub.errors.NotExistError: The model: qwen/Qwen-7B-Chat has no revision: v1.0.9 (valid tags: [])",
    ),
    (
        "ModelScope's download is damaged",
        "modelscope.hub.errors.FileIntegrityError: File /home/a/.cache/modelscope/hub/._____temp/qwen/Qwen-7B-Chat/"
        "model-00002-of-00008.safetensors integrity check failed, the download may be incomplete, please try again.",
    ),
    (
        "ModelScope unreachable",
        "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='www.modelscope.cn', port=443): Read timed out. "
        "(read timeout=60)",
    ),
    ("BFloat16 on MPS", "TypeError: BFloat16 is not supported on MPS"),
    ("gradio too new", "AttributeError: module 'gradio' has no attribute 'Box'"),
]


@pytest.mark.parametrize(("name", "line"), LINES, ids=range(len(LINES)))
def test_known_lines(name: str, line: str) -> None:
    explained = explain_traceback(traceback(line))
    assert explained.line == line
    assert explained.causes[0].name == name


def test_every_known_error_is_tested_and_has_a_remedy() -> None:
    assert {known.name for known in KNOWN_ERRORS} == {name for name, _ in LINES}
    assert all(known.cause and known.remedy and known.source for known in KNOWN_ERRORS)


def test_a_cause_above_the_last_line_is_found() -> None:
    """The last line of the old cache failure says nothing by itself; the line of code above it does."""
    frames = (
        f'  File "{REMOTE}/modeling_qwen.py", line 800, in forward',
        "    past_length = past_key_values[0][0].size(-2)",
    )
    explained = explain_traceback(traceback("AttributeError: 'NoneType' object has no attribute 'size'", *frames))
    assert explained.line == "AttributeError: 'NoneType' object has no attribute 'size'"
    assert [known.name for known in explained.causes] == ["tuple caches"]


def test_what_modelscope_logs_above_a_bare_404_is_found() -> None:
    log = (
        "2023-09-20 19:59:22,024 - modelscope - ERROR - Authentication token does not exist, failed to access model "
        "qwen/Qwen-7B-Chat which may not exist or may be                 private. Please login first.\n"
    )
    explained = explain_traceback(log + traceback("requests.exceptions.HTTPError: None"))
    assert [known.name for known in explained.causes] == ["ModelScope has no such model"]


def test_the_last_line_goes_before_harmless_warnings() -> None:
    log = "Warning: import flash_attn rotary fail, please install FlashAttention rotary to get higher efficiency\n"
    explained = explain_traceback(log + traceback("RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'"))
    assert [known.name for known in explained.causes] == ["half precision on a CPU", "flash-attn"]


def test_what_fails_within_the_remote_code_is_put_down_to_it() -> None:
    frame = f'  File "{REMOTE}/modeling_qwen.py", line 512, in forward'
    [known] = explain_traceback(traceback("TypeError: forward() got an unexpected keyword argument 'x'", frame)).causes
    assert known.name == "the checkpoint's own Python files"


def test_the_unknown_is_said_to_be_unknown() -> None:
    explained = explain_traceback(traceback("mylib.errors.OddError: the moon is full") + "\n[rank0] exiting\n")
    assert explained.line == "mylib.errors.OddError: the moon is full" and not explained.causes
    assert explain_traceback("it hangs\nforever\n").line == "forever"


def test_nothing_to_explain() -> None:
    with pytest.raises(PromptError, match="nothing to explain"):
        explain_traceback(" \n")
