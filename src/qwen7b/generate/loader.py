"""A model's name in, a model ready to talk out."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from qwen7b.adapters.adapted import with_adapter
from qwen7b.adapters.adapter_files import adapter_folder
from qwen7b.checkpoint import open_checkpoint
from qwen7b.checkpoint.chat_verdict import check_chats, decide_chat
from qwen7b.checkpoint.checks import check_vocabulary
from qwen7b.config.checked import flag, whole_number
from qwen7b.config.long_context import parse_method
from qwen7b.dialects import Dialect
from qwen7b.dialects.registry import find_dialect
from qwen7b.errors import SettingError, quoted
from qwen7b.files.checksums import content_digest
from qwen7b.files.tensor_folder import TensorFolder
from qwen7b.generate.qwen import Qwen
from qwen7b.generate.saved_prefixes import SavedPrefixes
from qwen7b.generate.speculate_setting import LOOKUPS, NONE, check_kind, check_same_tokens
from qwen7b.hub import locate
from qwen7b.loading import load_model
from qwen7b.loading.packed_weights import AUTO
from qwen7b.loading.placement import choose_device, choose_quantize, will_be_packed
from qwen7b.model import Transformer
from qwen7b.packing.kept_tokenizer import kept_tokenizer
from qwen7b.packing.places import exact_identity
from qwen7b.text import Tokenizer, load_tokenizer

_PROMPT_CACHE_BYTES = 10_000_000_000
"""The default limit of a folder of prompts."""


def load(
    model: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype | str | None = None,
    context_length: int | None = None,
    offline: bool | None = None,
    quantize: str | None = None,
    long_context: str | None = None,
    chat: bool | None = None,
    must_chat: bool = False,
    tokenizer: Tokenizer | None = None,
    prompt_cache: str | Path | None = None,
    prompt_cache_bytes: int | None = None,
    speculate: str | Path | Qwen | Transformer | None = None,
    dialect: str | Dialect | None = None,
    adapter: str | Path | None = None,
    adapters: Mapping[str, str | Path] | None = None,
) -> Qwen:
    """Load a known model ("demo"), an official one ("Qwen-7B-Chat"), a checkpoint folder, a .gguf file or a hub id.

    It computes on CUDA if that is there, else on MPS, else on the CPU, and there with packed weights ("auto", see
    `load_model`) unless `dtype` or `quantize="none"` asks for floats, or the native kernels are missing. Packed weights
    are kept in the cache for the next start, and others that lie in safetensors files in the model's dtype are used
    from there: the files must stay as they are meanwhile.

    `context_length` replaces the checkpoint's own limit of tokens a sequence. `long_context`, as in "ntk+logn",
    replaces its way to go beyond the trained length; without a context_length the limit is then 4 times the trained
    length, or as many times as the method says, unless it is larger already. See `load_model` for the methods, and
    for `device`, `dtype` and `quantize`. `chat` says whether the model was trained to chat, where its files do not
    or say it wrongly; with `must_chat` a base model is refused before its weights are read. `tokenizer` is the model's
    own, where it has been read already.

    `prompt_cache` names a folder in which the keys and values of prompts are kept, with their tokens, so that later
    starts need not read the same prompt again; beyond `prompt_cache_bytes`, by default 10 GB, the least recently used
    are deleted.

    `speculate` makes replies faster and never changes them: a few tokens are drafted, and the model checks all of them
    at once. "ngram" drafts what followed the same tokens earlier in the prompt or the reply; "ngram-pool" also searches
    the prompts and replies of other calls. A smaller model of the same vocabulary, loaded or by a name as `model` takes
    it, drafts what it would say itself; given by name, it is loaded in q4 where weights are packed by default. How many
    tokens are drafted, if any, follows from how often drafts were right and from how long checking takes.

    `dialect` is the way in which the model is told of tools and writes calls, where its family's own is not the one:
    a name, or a `Dialect` as it is.

    `adapter` is the folder of a LoRA adapter in PEFT's format, or of a run that trained one. It is added to the
    weights, so that it costs no time; packed ones are then packed at every start, and `qwen7b train merge` writes a
    model that is not. `adapters` maps names to several, which stay beside the weights: each call says by its name with
    which it is answered, `qwen.chat(…, adapter="a")`, and calls of several and of none are answered together.
    `qwen.add_adapter` and `qwen.remove_adapter` change them later.

    With `offline` nothing is fetched (default: the environment variable QWEN7B_OFFLINE). Raises Qwen7bError subclasses:
    see `errors.py`.

    >>> qwen = load("demo")  # doctest: +SKIP
    >>> qwen.chat("你好").text  # doctest: +SKIP
    """
    if offline is not None:
        flag("offline", offline)
    if chat is not None:
        flag("chat", chat)
    flag("must_chat", must_chat)
    if dialect is not None:
        find_dialect(dialect)
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        raise SettingError(f"tokenizer must be what load_tokenizer returns, found {quoted(tokenizer)}")
    check_kind(speculate)
    check_adapters(adapter, adapters)
    if long_context is not None:
        parse_method(long_context)  # before anything is fetched
    if prompt_cache is None and prompt_cache_bytes is not None:
        raise SettingError("prompt_cache_bytes is of no use without a prompt_cache: name a folder, or leave it out")
    most = _PROMPT_CACHE_BYTES if prompt_cache_bytes is None else prompt_cache_bytes
    folder = None if prompt_cache is None else open_prompt_cache(prompt_cache, max_bytes=most)
    checkpoint = open_checkpoint(locate(model, offline=offline))
    files = exact_identity(checkpoint.path)  # before they are read
    if adapter is not None:
        files += exact_identity(adapter_folder(adapter))
        checkpoint = with_adapter(checkpoint, adapter)
    place = choose_device(device, checkpoint, quantize=quantize)
    quantize = choose_quantize(dtype=dtype, device=place, quantize=quantize)
    if tokenizer is None:
        read = kept_tokenizer if will_be_packed(checkpoint, quantize) else load_tokenizer
        tokenizer = read(checkpoint.path)
    check_vocabulary(tokenizer, checkpoint.config, source=checkpoint.path)
    if must_chat:
        check_chats(decide_chat(checkpoint.generation, tokenizer, checkpoint.config, override=chat), name=str(model))
    if isinstance(speculate, Path) or (isinstance(speculate, str) and speculate not in (NONE, *LOOKUPS)):
        speculate = _load_draft(speculate, device=device, offline=offline)
        check_same_tokens(tokenizer, speculate.tokenizer, draft_name=speculate.name)  # before the weights are read
    loaded = load_model(
        checkpoint,
        dtype=dtype,
        device=place,
        quantize=quantize,
        keep=adapter is None,
        mapped=True,
        long_context=long_context,
        context_length=context_length,
    )
    saved = None if folder is None else _saved_prefixes(folder, loaded, files=files)
    return Qwen(
        loaded,
        tokenizer,
        generation=checkpoint.generation,
        name=str(model) if adapter is None else f"{model} with {adapter}",
        source=str(model),
        chat=chat,
        saved=saved,
        speculate=speculate,
        dialect=dialect,
        adapters=adapters,
    )


def check_adapters(adapter: str | Path | None, adapters: Mapping[str, str | Path] | None) -> None:
    """Raise SettingError where both are given, and what `adapter_folder` raises, before anything large is read."""
    if adapters is not None and not isinstance(adapters, Mapping):
        raise SettingError(f"adapters must map names to folders, found {quoted(adapters)}: one alone is an adapter=")
    if adapter is not None and adapters:
        raise SettingError(
            "adapter adds one to the weights, for all calls, and adapters are chosen by each call: give one of the two"
        )
    for path in (adapters or {}).values():
        adapter_folder(path)


def open_prompt_cache(folder: str | Path, *, max_bytes: int) -> TensorFolder:
    """Open the folder, or make it. Raises SettingError where that fails, or where the limit is not a number."""
    whole_number("prompt_cache_bytes", max_bytes, minimum=1)
    if not isinstance(folder, (str, Path)) or not str(folder):
        raise SettingError(f"prompt_cache should be the name of a folder, found {quoted(folder)}")
    try:
        return TensorFolder(Path(folder), max_bytes=max_bytes)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(
            f"prompt_cache {quoted(str(folder))} cannot be made a folder: {reason}; name another"
        ) from error


def _saved_prefixes(folder: TensorFolder, model: Transformer, *, files: str) -> SavedPrefixes | None:
    """The prompts in a folder that this model has read, where `files` tells its weights from others."""
    if model.weight_format is None:
        return SavedPrefixes(folder, model, weights=files)
    if model.weights_file is None:
        warnings.warn(
            "prompt_cache is not used: packed weights that are not kept may be others next time", stacklevel=3
        )
        return None
    return SavedPrefixes(
        folder, model, weights=content_digest(model.weights_file) or exact_identity(model.weights_file)
    )


def _load_draft(model: str | Path, *, device: str | torch.device, offline: bool | None) -> Qwen:
    """Load a draft model by its name, in q4 where its format is free: only speed depends on how it is rounded."""
    near = difflib.get_close_matches(str(model), (NONE, *LOOKUPS), n=1)
    if near and not Path(model).exists():
        raise SettingError(
            f"speculate must be {NONE}, {', '.join(LOOKUPS)} or a model, found {quoted(str(model))}: did you mean "
            f"{near[0]}?"
        )
    checkpoint = open_checkpoint(locate(model, offline=offline))
    place = choose_device(device, checkpoint, quantize=None)
    is_free = checkpoint.packed is None and choose_quantize(dtype=None, device=place, quantize=None) == AUTO
    return load(model, device=place, offline=offline, quantize="q4" if is_free else None)
