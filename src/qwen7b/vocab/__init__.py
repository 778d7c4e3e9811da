"""Vocabularies measured, extended for a language that they are poor in, and new ones trained on texts.

In come texts and tokenizers, out go figures of how well they compress and files of added tokens: `qwen_extra.tiktoken`
in the original's form, or a `tokenizer.json`. New rows for a model's embedding and head are made here too; that they
get into a checkpoint is a matter of `convert`. The room trains no model and knows no text but what
it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.vocab.compression import Compression, measure_compression
    from qwen7b.vocab.compression_plot import plot_compression
    from qwen7b.vocab.extended_vocabulary import check_target, write_extended
    from qwen7b.vocab.extension import Extension, extend_vocabulary
    from qwen7b.vocab.table import compression_table
    from qwen7b.vocab.text_groups import TextGroup, find_groups, named_group

__all__ = [
    "Compression",
    "Extension",
    "TextGroup",
    "check_target",
    "compression_table",
    "extend_vocabulary",
    "find_groups",
    "measure_compression",
    "named_group",
    "plot_compression",
    "write_extended",
]

_MODULES = {
    "Compression": "compression",
    "Extension": "extension",
    "TextGroup": "text_groups",
    "check_target": "extended_vocabulary",
    "compression_table": "table",
    "extend_vocabulary": "extension",
    "find_groups": "text_groups",
    "measure_compression": "compression",
    "named_group": "text_groups",
    "plot_compression": "compression_plot",
    "write_extended": "extended_vocabulary",
}

__getattr__ = imported_when_used(__name__, _MODULES)
