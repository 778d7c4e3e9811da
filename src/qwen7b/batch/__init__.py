"""Many requests in, an answer to each out: the lines of files, OpenAI's batch form or plain ones.

A request that cannot be answered does not keep others from it, and an interrupted run is resumed. The room knows the
fields of OpenAI's API, and not how replies are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen7b.system.importing import imported_when_used

if TYPE_CHECKING:
    from qwen7b.batch.answering import FileRun, answer_requests, make_job
    from qwen7b.batch.request_files import ReplyFile

__all__ = ["FileRun", "ReplyFile", "answer_requests", "make_job"]

__getattr__ = imported_when_used(
    __name__,
    {"FileRun": "answering", "ReplyFile": "request_files", "answer_requests": "answering", "make_job": "answering"},
)
