"""The errors of today's libraries: Transformers releases that do not fit a model's code, and ModelScope's failures."""

from __future__ import annotations

from qwen7b.doctor.known_error import known_error
from qwen7b.installation import install_command

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
        remedy="update qwen7b where it was installed from (git pull, then install it again with its extra "
        "hf), or install a Transformers release that its pyproject.toml allows; qwen7b.load(path) needs no "
        "Transformers",
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

MODELSCOPE_ERRORS = (
    known_error(
        "ModelScope refuses the pipeline",
        r"Detected plugins or allow_remote field",
        r"is not in the pipelines registry group (chat|text-generation)",
        r"No module named '?swift\b",
        r"requires the SentencePiece library",
        cause="the folder's configuration.json asks ModelScope to run code of its own or another engine, or names a "
        "pipeline that this ModelScope does not have",
        remedy="import qwen7b.hf, then name the pipeline: pipeline(task=Tasks.chat, model=model_dir, "
        'pipeline_name="qwen-7b-chat-pipeline"); no code of the folder runs',
        source="FunASR #1239, #2073",
    ),
    known_error(
        "ModelScope lacks libraries",
        r"No module named '?(addict|datasets|oss2|PIL|simplejson|sortedcontainers)\b",
        cause="ModelScope's pipelines need more libraries than its downloads do",
        remedy=f"{install_command('hf', 'modelscope')} brings them",
        source="modelscope without extras",
    ),
    known_error(
        "ModelScope has no such model",
        r"Authentication token does not exist",
        r"request resource\(model or dataset\) does not exist",
        r"The model: \S+ has no revision",
        r"Not Found for url: https?://(www\.)?modelscope\.(cn|ai)",
        cause="ModelScope has no model of that name and revision that everybody may read, which it also reports as a "
        "missing login",
        remedy="look the name up on the site (the original is Qwen/Qwen-7B-Chat) and leave revision out; a login is "
        "needed for private models only",
        source="motionagent #7; self-llm #227",
    ),
    known_error(
        "ModelScope's download is damaged",
        r"integrity check failed",
        r"FileIntegrityError|FileSizeMismatchError",
        r"download incomplete, content_length",
        cause="a file differs from the one on the hub, often because a download was interrupted and continued",
        remedy="delete its folder below ._____temp in ModelScope's cache and download again, or run QWEN7B_HUB="
        "modelscope qwen7b pull NAME, which goes on where it stopped; qwen7b doctor FOLDER says what is missing",
        source="modelscope #758, #968, #1365; LLaMA-Factory #5825, #5826",
    ),
    known_error(
        "ModelScope unreachable",
        r"host='(www\.)?modelscope\.(cn|ai)'",
        cause="the model's name was looked up on ModelScope, which does not answer from here",
        remedy="give the path of a local folder, for which qwen7b contacts no hub, or try again later: qwen7b pull "
        "goes on where it stopped",
        source="ms-swift #2539; modelscope #1518",
    ),
)
