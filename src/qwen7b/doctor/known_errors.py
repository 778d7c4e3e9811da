"""The errors that users of first-generation Qwen ran into: what each message comes from and what to do today."""

from __future__ import annotations

from qwen7b.doctor.known_error import known_error
from qwen7b.doctor.library_errors import MODELSCOPE_ERRORS, TRANSFORMERS_ERRORS

_HF = "import qwen7b.hf before the Auto classes and leave the rest of the script as it is"
_LOAD = "or qwen7b.load(path).chat(…) without Transformers"
_REMOTE_CODE_REPORTS = "LLaMA-Factory #1809, #2582; ms-swift #4324; mteb #3768; xtuner PR 959"
_ADAPTER_REPORTS = "#486, #470, #512, #542, #1318; LLaMA-Factory #1545"

KNOWN_ERRORS = (
    known_error(
        "transformers_stream_generator",
        r"No module named '?transformers_stream_generator",
        r"not found in your environment:.*transformers_stream_generator",
        r"transformers_stream_generator[/\\]",
        r"cannot import name '(BeamSearchScorer|ConstrainedBeamSearchScorer|DisjunctiveConstraint|SampleOutput"
        r"|PhrasalConstraint|BeamScorer)'",
        cause="the checkpoint's own code streams through transformers_stream_generator, which patches parts of "
        "Transformers that no longer exist (BeamSearchScorer and its like)",
        remedy=f"uninstall it: {_HF}; model.chat_stream works there without it, {_LOAD}",
        source="#100, #109, #72, #87, #273; transformers-stream-generator #15; Transformers PR 40495",
    ),
    known_error(
        "tokenizer without mergeable_ranks",
        r"QWenTokenizer'?( object)? has no attribute '?(mergeable_ranks|tokenizer|decoder|special_tokens|errors)\b",
        cause="the checkpoint's tokenization_qwen.py calls its base class before it has a vocabulary, which "
        "Transformers since 4.34 asks for at once",
        remedy=f"{_HF}, or qwen7b.load_tokenizer(path)",
        source=_REMOTE_CODE_REPORTS,
    ),
    known_error(
        "GenerationMixin split off",
        r"'?QWenLMHeadModel'? object has no attribute '(generate|_validate_model_class|prepare_inputs_for_generation"
        r"|_extract_past_from_model_output|_update_model_kwargs_for_generation)'",
        r"QWenLMHeadModel has generative capabilities.*doesn't directly inherit from `GenerationMixin`",
        cause="since Transformers 4.50 a model no longer inherits generate() by itself, and the checkpoint's "
        "modeling_qwen.py does not ask for it",
        remedy=f"{_HF}, {_LOAD}",
        source=_REMOTE_CODE_REPORTS,
    ),
    known_error(
        "tuple caches",
        r"'(Dynamic|Static|Quantized|EncoderDecoder|Hybrid)?Cache' object (has no attribute|is not subscriptable)",
        r"past_key_values\[0\]\[0\]\.(size|shape)",
        cause="the checkpoint's code expects the keys and values of earlier tokens as tuples of tensors, and "
        "Transformers now passes Cache objects",
        remedy=f"{_HF}; passing use_cache=False to the old code works too, slowly",
        source=_REMOTE_CODE_REPORTS,
    ),
    known_error(
        "Transformers 5 internals",
        r"has no attribute '_?all_tied_weights_keys'",
        r"has no attribute '_tied_weights_keys'",
        r"post_init.*QWen|QWen.*post_init",
        r"cannot import name '\w+' from 'transformers\.(utils|modeling_utils|pytorch_utils|file_utils)",
        r"No module named 'transformers\.(deepspeed|file_utils)'",
        cause="the checkpoint's Python files, or an old script, use parts of Transformers that version 5 removed",
        remedy=f"{_HF}, {_LOAD}",
        source=f"{_REMOTE_CODE_REPORTS}; Transformers #44561",
    ),
    known_error(
        "auto_gptq missing",
        r"No module named '?(auto_gptq|optimum|gptqmodel|exllama\w*)",
        r"requires? (the )?(auto[-_]gptq|optimum|gptqmodel)",
        r"Loading a GPTQ quantized model requires",
        r"Using Exllama(v2)? (or Exllamav2 )?backend requires all the modules to be on GPU",
        r"CUDA extension not installed",
        r"disable_exllama",
        r"autogptq_cuda\w*",
        cause="an Int4 or Int8 checkpoint needs auto-gptq and its CUDA kernels in Transformers, and auto-gptq is no "
        "longer maintained",
        remedy="qwen7b.load(path) unpacks GPTQ checkpoints by itself, on a CPU too",
        source="#850, #882, #914, #930, #800, #495, #226; AutoGPTQ #507, #499",
    ),
    known_error(
        "flash-attn",
        r"import flash_attn (rotary|rms_norm )?\s*fail",
        r"please install FlashAttention",
        r"does not support Flash Attention 2(\.0)?",
        r"flash_attn\w*\.(so|cpython)[^\n]*undefined symbol",
        r"No module named '?(flash_attn|rotary_emb|dropout_layer_norm)",
        cause="the checkpoint's code looks for flash-attn and its rotary and layer_norm extensions; the warnings are "
        "harmless, failed builds are not",
        remedy="uninstall flash-attn or ignore it: qwen7b computes attention with PyTorch's own SDPA and asks for "
        "no extension",
        source="#522, #535, #1034, #1208, #156, #854; flash-attn #794",
    ),
    known_error(
        "half precision on a CPU",
        r"not implemented for 'Half'",
        cause="the model is in float16 and this operation has no float16 form on a CPU in that PyTorch",
        remedy="load it as float32 or bfloat16: qwen7b.load(path) never chooses float16 on a CPU; with Transformers "
        "pass dtype=torch.float32",
        source="#131, #273, #611, #884, #897",
    ),
    known_error(
        "QWenTokenizer unknown",
        r"Tokenizer class QWenTokenizer does not exist or is not currently imported",
        r"Can't load tokenizer.*qwen",
        cause="tokenizer_config.json names a class that lives in the checkpoint's Python files, and these were not "
        "allowed, not found or not copied along",
        remedy=f"{_HF}; where qwen.tiktoken is missing too: qwen7b doctor FOLDER --fix NEW_FOLDER --tokenizer BASE",
        source=_ADAPTER_REPORTS,
    ),
    known_error(
        "trust_remote_code",
        r"(set the option|pass the argument) `?trust_remote_code=True",
        r"contains custom code which must be executed",
        r"model type `?qwen`? but Transformers does not recognize this architecture",
        r"^KeyError: 'qwen'",
        r"No module named '?transformers_modules\b",
        r"Unrecognized configuration class.*QWenConfig",
        cause="first-generation Qwen is no model of Transformers' own: it came as Python files in the checkpoint, "
        "which may only run with trust_remote_code=True and no longer do",
        remedy=f"{_HF}: it registers the model, and with or without trust_remote_code no code of the checkpoint runs",
        source=_REMOTE_CODE_REPORTS,
    ),
    known_error(
        "tiktoken cannot download",
        r"openaipublic\.blob\.core\.windows\.net",
        r"tiktoken[/\\]load\.py[^\0]*?(ConnectionError|Timeout|MaxRetryError|ProxyError|SSLError)",
        cause="tiktoken was asked for one of OpenAI's vocabularies, which it downloads, and there is no network; "
        "Qwen's own vocabulary is the file qwen.tiktoken and needs none",
        remedy="qwen7b.load_tokenizer('qwen.tiktoken') or the checkpoint's folder: it never downloads a vocabulary",
        source="air-gapped sites; modelscope #1271",
    ),
    known_error(
        "hub unreachable",
        r"couldn't connect to 'https://huggingface\.co'",
        r"host='(huggingface\.co|cdn-lfs\S*)'",
        r"LocalEntryNotFoundError",
        cause="the model's name was looked up on the Hugging Face hub, which does not answer from here",
        remedy="set HF_ENDPOINT to a mirror or QWEN7B_HUB=modelscope, or give the path of a local folder: qwen7b "
        "contacts no hub for a path",
        source="modelscope #1271; ms-agent #245; Qwen-VL #294",
    ),
    known_error(
        "einops missing",
        r"No module named '?einops",
        r"not found in your environment:.*einops",
        cause="the checkpoint's code needs the einops package",
        remedy=f"nothing to install: {_HF}, {_LOAD}",
        source="the original README asks for it",
    ),
    known_error(
        "tiktoken missing",
        r"No module named '?tiktoken",
        r"not found in your environment:.*tiktoken",
        cause="the checkpoint's tokenizer needs the tiktoken package",
        remedy="qwen7b installs it: qwen7b.load_tokenizer(path)",
        source="the original README asks for it",
    ),
    known_error(
        "serving engine dropped QWenLMHeadModel",
        r"architectures? [\[\('\"]*QWenLMHeadModel[^\n]*(not supported|failed to be inspected|not recognized)",
        r"QWenLMHeadModel[^\n]*(is|are) not (currently )?supported",
        r"(unsupported|not support(ed)?|can not find|could not find|unknown)[^\n]*\bQWenLMHeadModel",
        r"unsupported model[_ ]type:? [`'\"]?qwen\b",
        cause="vLLM, LMDeploy and others have removed first-generation Qwen, or never had it",
        remedy="qwen7b convert FOLDER NEW_FOLDER --to qwen2 makes a checkpoint that they load, the same model but for "
        "dynamic NTK and LogN",
        source="vLLM PR 45131; LMDeploy PR 4693; #1097, #1057, #1273, #1258",
    ),
    known_error(
        "out of GPU memory",
        r"CUDA out of memory",
        r"CUDA error: out of memory",
        r"OutOfMemoryError",
        cause="weights, cache and prompt together do not fit the GPU; in the old code long prompts cost most, and its "
        "int8 cache could not be had with flash attention",
        remedy="load in bfloat16, or in 4 bits by BitsAndBytesConfig(load_in_4bit=True), or a GGUF made by qwen7b "
        "convert --to gguf --quantize q4_0; shorten the prompt; when training, use LoRA with gradient checkpointing",
        source="#421, #373, #107",
    ),
    known_error(
        "inf or nan probabilities",
        r"probability tensor contains either",
        cause="float16 overflowed: some activations of Qwen exceed its range, often after a shaky start across "
        "several GPUs or with a damaged shard",
        remedy="use bfloat16 or float32 instead of float16, and look at the folder: qwen7b doctor FOLDER finds nan in "
        "the norms and damaged shards",
        source="#848, #815, #711",
    ),
    known_error(
        "LoRA target modules",
        r"Target modules [^\n]* not found in the base model",
        r"Please specify `target_modules` in `peft_config`",
        cause="first-generation Qwen has no q_proj or v_proj, and Qwen2 has no c_attn: the names are another model's",
        remedy="for first-generation Qwen use target_modules=['c_attn', 'c_proj', 'w1', 'w2']; an adapter can be "
        "checked with qwen7b doctor ADAPTER --base FOLDER",
        source=_ADAPTER_REPORTS,
    ),
    known_error(
        "ZeRO-3 with trained embeddings",
        r"'weight' must be 2-D",
        r"(wte|lm_head|lora_[AB])[^\n]*torch\.Size\(\[0\]\)",
        r"torch\.Size\(\[0\]\)[^\n]*(wte|lm_head|lora_[AB])",
        cause="DeepSpeed ZeRO-3 keeps parameters split up, so that an embedding that is also trained (wte and lm_head "
        "of a base model taught ChatML) is empty where it is read or saved",
        remedy="train with ZeRO-2, start from the chat model so that wte and lm_head need no training, and save with "
        "stage3_gather_16bit_weights_on_model_save",
        source="#1104, #1161, #716, #608",
    ),
    known_error(
        "token id out of range",
        r"index out of range in self",
        r"srcIndex < srcSelectDimSize",
        r"device-side assert triggered",
        cause="a token id has no row in the embedding: ids from 151851 on are unused, and from 151936 on there are "
        "none; mostly tokens were added to the tokenizer only, or the tokenizer is another model's",
        remedy="qwen7b doctor FOLDER compares tokenizer and rows; after adding tokens call "
        "model.resize_token_embeddings(len(tokenizer)) and save both",
        source="#419, #553, #482, #1174; vLLM PR 11980",
    ),
    known_error(
        "no padding token",
        r"Asking to pad but the tokenizer does not have a padding token",
        r"Adding unknown special tokens is not supported",
        r"Using (pad|bos|eos)_token, but it is not set yet",
        cause="the original tokenizer defines no pad, bos or eos token and refuses to be given one",
        remedy=f"{_HF}: its tokenizer pads on the left with <|endoftext|> (151643)",
        source="#145, #159; LLaMA-Factory #1755; PaddleNLP PR 7811",
    ),
    known_error(
        "code and weights of different dates",
        r"'?QWenConfig'? object has no attribute",
        cause="the checkpoint was renewed on 2023-09-25 with other names in config.json, and its Python files are from "
        "the other side of that date",
        remedy="qwen7b reads both kinds of config.json and no Python file: qwen7b.load(path); qwen7b doctor FOLDER "
        "says which is which",
        source="#429; ipex-llm #9283",
    ),
    known_error(
        "a base model asked to chat",
        r"probably using the pretrained model \(rather than chat model\) for chatting",
        r"is a base model, not trained to chat",
        cause="model.chat was called on a base model, whose generation_config.json does not say chat_format chatml",
        remedy="load the chat version, Qwen-7B-Chat, or complete a text: model.generate, or qwen7b complete; if it "
        'is a fine-tune that chats, put "chat_format": "chatml" into its generation_config.json, or load it with '
        "chat=True (--chat)",
        source="an assertion of the original's modeling_qwen.py",
    ),
    known_error(
        "chat(stream=True)",
        r"Pass argument `?stream`? to model\.chat\(\) is buggy",
        r"chat does not stream: call chat_stream",
        cause="model.chat gives the whole response at once",
        remedy="for response in model.chat_stream(tokenizer, query, history): it gives the response as it grows",
        source="wenda #472; an assertion of the original's modeling_qwen.py",
    ),
    known_error(
        "chat() is gone",
        r"object has no attribute 'chat(_stream)?'",
        cause="model.chat was a method of the first generation's own Python files; Qwen1.5 and later, and plain "
        "Transformers models, have none",
        remedy=f"qwen7b.load(path).chat(messages) for any of them; for first-generation checkpoints {_HF}",
        source="#1097, #1057",
    ),
    known_error(
        "BFloat16 on MPS",
        r"BFloat16 is not supported on MPS",
        r"MPS[^\n]*bfloat16[^\n]*not supported",
        cause="this macOS or PyTorch cannot compute in bfloat16 on Apple's GPU",
        remedy="qwen7b.load(path, device='mps') chooses float16 there; or use device='cpu'",
        source="#28, #497, #1208",
    ),
    known_error(
        "gradio too new",
        r"(module 'gradio|gradio\.components|from 'gradio)[^\n]*(has no attribute|'?\))",
        r"gradio[/\\][^\0]*?(unexpected keyword argument|has no attribute)",
        cause="web_demo.py was written for gradio 3",
        remedy="qwen7b chat talks in the terminal and needs no gradio",
        source="#377, #452, #1095",
    ),
    *TRANSFORMERS_ERRORS,
    *MODELSCOPE_ERRORS,
)

REMOTE_CODE = known_error(
    "the checkpoint's own Python files",
    r"(modeling|tokenization|configuration)_qwen\.py|qwen_generation_utils",
    cause="the error arose within the Python files that came with the checkpoint, which run on Transformers 4.32 only",
    remedy=f"{_HF}, {_LOAD}",
    source=_REMOTE_CODE_REPORTS,
)
