"""Many requests in, an answer to each out: the lines of files, OpenAI's batch form or plain ones.

A request that cannot be answered spoils no other, and a run that was interrupted is taken up again. Knows the fields of
OpenAI's API, and nothing of how replies are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.batch.answering import FileRun, answer_requests, asking_of
    from qwen7b.batch.request_files import ReplyFile

__all__ = ["FileRun", "ReplyFile", "answer_requests", "asking_of"]

__getattr__ = imported_when_used(
    __name__,
    {"FileRun": "answering", "ReplyFile": "request_files", "answer_requests": "answering", "asking_of": "answering"},
)
