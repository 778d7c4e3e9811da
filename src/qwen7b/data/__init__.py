"""Raw text becomes clean documents, and these token shards: files in, mapped files of ids out, with a card.

The room reads text, JSON lines, HTML and Parquet, judges documents by rules, finds copies and near copies and looks for
benchmarks in them; the card says what came in, went out, and why. It then writes shards of token ids, and says in which
order they are read. It knows no model and no training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.data.cleaning import RULES, Cleaner, CleaningSettings
    from qwen7b.data.corpus import clean_corpus
    from qwen7b.data.dedup import dedup_corpus
    from qwen7b.data.document import Document
    from qwen7b.data.intake import Intake
    from qwen7b.data.json_parts import PartWriter
    from qwen7b.data.minhash import NearCopySettings
    from qwen7b.data.sources import Sources, read_documents
    from qwen7b.data.tokenizing import TokenizedCorpus, tokenize_corpus
    from qwen7b.data.weights import Weights

__all__ = [
    "RULES",
    "Cleaner",
    "CleaningSettings",
    "Document",
    "Intake",
    "NearCopySettings",
    "PartWriter",
    "Sources",
    "TokenizedCorpus",
    "Weights",
    "clean_corpus",
    "dedup_corpus",
    "read_documents",
    "tokenize_corpus",
]

__getattr__ = imported_when_used(
    __name__,
    {
        "RULES": "cleaning",
        "Cleaner": "cleaning",
        "CleaningSettings": "cleaning",
        "Document": "document",
        "Intake": "intake",
        "NearCopySettings": "minhash",
        "PartWriter": "json_parts",
        "Sources": "sources",
        "TokenizedCorpus": "tokenizing",
        "Weights": "weights",
        "clean_corpus": "corpus",
        "dedup_corpus": "dedup",
        "read_documents": "sources",
        "tokenize_corpus": "tokenizing",
    },
)
