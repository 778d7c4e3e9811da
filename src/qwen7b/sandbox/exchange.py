"""A cell on its way into a session, and the answer to it. Part of what the sandbox starts: standard library only."""

from __future__ import annotations

import os

from qwen7b.sandbox.values import LENGTH_BYTES

TOKEN_BYTES = 16
MAX_ANSWER = 1 << 25
"""Bytes of an answer, with its figures."""


class Exchange:
    """A message to a program, and its answer: the length of what follows, this exchange's token, the content.

    The program may write too much, too little or nothing. It can write no answer before its exchange has begun, since
    it does not know the token then; and it can forge none but its own.
    """

    def __init__(self, incoming: int, outgoing: int, message: bytes, *, token: bytes) -> None:
        # A program can open the pipes' other ends too, and then read or write before this process does.
        os.set_blocking(incoming, False)
        os.set_blocking(outgoing, False)
        self.incoming = incoming
        self.outgoing = outgoing
        self.verdict: str | None = None
        """"answered" or "broken", once it is one of them."""
        self._token = token
        self._unwritten = memoryview(len(message).to_bytes(LENGTH_BYTES) + message)
        self._answer = bytearray()

    @property
    def content(self) -> bytes:
        return bytes(self._answer[LENGTH_BYTES + len(self._token) :])

    def proceed(self, pipe: int) -> bool:
        """Write what the outgoing pipe takes, or read what has come; False where a pipe is of no more use."""
        try:
            if pipe == self.outgoing:
                self._unwritten = self._unwritten[os.write(pipe, self._unwritten) :]
                return bool(self._unwritten)
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        self._answer += data
        self.verdict = self._judge()
        return bool(data)

    def _judge(self) -> str | None:
        head, token = self._answer[:LENGTH_BYTES], self._answer[LENGTH_BYTES:][: len(self._token)]
        if len(head) < LENGTH_BYTES:
            return None
        length = int.from_bytes(head)
        end = LENGTH_BYTES + length
        if length < len(self._token) or length > MAX_ANSWER or len(self._answer) > end:
            return "broken"
        if not self._token.startswith(token):
            return "broken"
        return "answered" if len(self._answer) == end else None
