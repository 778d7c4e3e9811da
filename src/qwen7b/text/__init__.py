"""Text to token ids and back, conversations included, and the only home of ChatML.

In come text, conversations and tokenizer files (`qwen.tiktoken`, GGUF, `tokenizer.json`, `vocab.json` with
`merges.txt`); out go token ids, and which of them belong to which message. Ids become text again, at once or streamed.
The room knows no models and no weights, nor how ids are chosen, and does without torch.
"""

from __future__ import annotations

from qwen7b.text.chat_prompt import DEFAULT_HISTORY_TOKEN_LIMIT, chat_prompt
from qwen7b.text.detokenizer import Detokenizer
from qwen7b.text.messages import Message
from qwen7b.text.reading import load_tokenizer
from qwen7b.text.tokenizer import Tokenizer
from qwen7b.text.vocabulary import Vocabulary

__all__ = [
    "DEFAULT_HISTORY_TOKEN_LIMIT",
    "Detokenizer",
    "Message",
    "Tokenizer",
    "Vocabulary",
    "chat_prompt",
    "load_tokenizer",
]
