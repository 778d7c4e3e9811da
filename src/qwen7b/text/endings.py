"""The tokens that end a reply, gathered from every place in a tokenizer's files that names one."""

from __future__ import annotations

from qwen7b.text.chat_format import ChatFormat
from qwen7b.text.vocabulary import Vocabulary

CHATML_NAMES = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

# Control tokens that end a text or a message in the vocabularies of one family or another.
_USUAL_NAMES = (
    *CHATML_NAMES,
    *("</s>", "<eos>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "<|eot|>", "<EOT>", "<|EOT|>"),
    *("<end_of_turn>", "<|end_of_turn|>", "<turn|>", "<|return|>", "[EOS]", "<｜end▁of▁sentence｜>"),
)


def vocabulary_endings(vocabulary: Vocabulary, chat_format: ChatFormat | None) -> dict[int, str]:
    """The ids that end a reply, each with its source: a field of a file, the chat template, or a usual name."""
    settings = vocabulary.settings
    endings: dict[int, str] = {}
    for name, source in settings.ends.items():
        if (id := vocabulary.id_of(name)) is not None:
            endings.setdefault(id, source)
    for name in chat_format.ends if chat_format else ():
        endings.setdefault(vocabulary.control_tokens[name], settings.chat_template_source or vocabulary.source)
    return {**usual_endings(vocabulary), **endings}


def usual_endings(vocabulary: Vocabulary) -> dict[int, str]:
    """The control tokens that end a reply, judged by their names."""
    names = [name for name in _USUAL_NAMES if name in vocabulary.control_tokens]
    return {vocabulary.control_tokens[name]: f"{vocabulary.source} ({name})" for name in names}
