"""First-generation Qwen in Transformers 5: importing this module teaches the Auto classes `model_type` "qwen".

In come checkpoint folders of either generation, out come Transformers models and tokenizers, which also have the
original's interface and tensor names. Code in such a checkpoint is never run, whatever `trust_remote_code` says; other
models are left to Transformers. The room knows nothing of our own model's cache and engine, but uses its rotary
embedding, its norm and all of `text`.

    >>> import qwen7b.hf                                                                    # doctest: +SKIP
    >>> from transformers import AutoModelForCausalLM, AutoTokenizer                        # doctest: +SKIP
    >>> tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen-7B-Chat")                      # doctest: +SKIP
    >>> model = AutoModelForCausalLM.from_pretrained("Qwen/Qwen-7B-Chat", device_map="auto")# doctest: +SKIP
    >>> response, history = model.chat(tokenizer, "你好", history=None)                     # doctest: +SKIP
"""

from __future__ import annotations

from qwen7b.errors import MissingExtraError
from qwen7b.hf.release import check_release

try:
    import transformers
except ImportError as error:
    raise MissingExtraError("transformers", extra="hf") from error
else:
    check_release(transformers.__version__)

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig

from qwen7b.hf.causal_lm import QWenLMHeadModel
from qwen7b.hf.chat_pipeline import register_chat_pipeline
from qwen7b.hf.configuration import QWenConfig
from qwen7b.hf.decoder import QWenModel
from qwen7b.hf.tokenizer_fast import QWenTokenizerFast
from qwen7b.hf.tokenizer_python import QWenTokenizer

__all__ = ["QWenConfig", "QWenLMHeadModel", "QWenModel", "QWenTokenizer", "QWenTokenizerFast"]


class _NoConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """A configuration that no model has, for registering the tokenizers under their names alone.

    AutoTokenizer would prefer the checkpoint's own code, if the user trusts it, to a tokenizer registered for
    QWenConfig.
    """


AutoConfig.register(QWenConfig.model_type, QWenConfig, exist_ok=True)
AutoModel.register(QWenConfig, QWenModel, exist_ok=True)
AutoModelForCausalLM.register(QWenConfig, QWenLMHeadModel, exist_ok=True)
for _tokenizer in (QWenTokenizer, QWenTokenizerFast):
    AutoTokenizer.register(_NoConfig, tokenizer_class=_tokenizer, exist_ok=True)  # type: ignore[no-untyped-call]
register_chat_pipeline()
