"""Where a generated text ends: the texts at which each procedure stops reading."""

from __future__ import annotations

GSM8K_ORIGINAL_CUTS = ("<|endoftext|>", "\n\n", "Question:")
"""The original's base script cuts here, at all times the same. Its chat script cuts nothing."""

GSM8K_STANDARD_CUTS = ("Question:", "</s>", "<|im_end|>")
"""lm-eval 0.4.13 stops here in its task `gsm8k`, in a chat too."""

HUMANEVAL_ORIGINAL_CUTS = ("<|endoftext|>", "\n\n", "def ")
"""The original's base script cuts here, at all times the same. Its chat script cuts nothing.

A reply that begins with a blank line is therefore empty, and code that has a blank line in its middle loses its end.
"""

HUMANEVAL_STANDARD_CUTS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""lm-eval 0.4.13 stops here in its tasks `humaneval` and `humaneval_instruct`."""


def chat_text(output: str) -> str:
    """A chat's reply as the original's scripts read it: `model.chat` of the released checkpoints strips it."""
    return output.strip()
