"""Token ids to text, one id at a time, for streaming."""

from __future__ import annotations

from codecs import getincrementaldecoder

from qwen7b.text.tokenizer import Tokenizer


class Detokenizer:
    """Decodes ids one by one: the pieces joined are what `Tokenizer.decode` returns for all the ids.

    A character whose bytes are spread over several tokens comes out with the last of them, never as replacement
    characters first.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_control: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip_control = skip_control
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")

    def push(self, id: int) -> str:
        """Take in an id and return the text that it completes. Raises SettingError for an id that is no token."""
        if self._skip_control and self._tokenizer.is_hidden(id):
            return ""
        return self._decoder.decode(self._tokenizer.token_bytes(id))

    def flush(self) -> str:
        """Return what is left of an unfinished character. The detokenizer is then ready for another text."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text
