"""Reads HTML: a file is a page, of which the main text is the document, as trafilatura finds it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qwen7b.data.byte_files import noted_damage, open_bytes
from qwen7b.data.document import Document, check_text
from qwen7b.data.intake import Intake
from qwen7b.data.reading import NamedSource, ReadingSettings
from qwen7b.errors import DataError, MissingExtraError
from qwen7b.system.progress import shown_size


def read_html_documents(
    path: Path, source: NamedSource, reading: ReadingSettings, intake: Intake
) -> Iterator[Document]:
    """The document that a page has; its title and address are kept. A page without text is counted.

    As for FineWeb, less text is preferred to more of what surrounds it. An encoding other than UTF-8 is recognised, as
    web pages name theirs wrongly.
    """
    try:
        from trafilatura import bare_extraction
        from trafilatura.utils import decode_file
    except ImportError as error:
        raise MissingExtraError("trafilatura", extra="train") from error
    with noted_damage(path, intake), open_bytes(path) as file:
        data = file.read(reading.max_bytes + 1)
        if len(data) > reading.max_bytes:
            limit = shown_size(reading.max_bytes)
            intake.note("too long", path, "", f"the page is longer than {limit} (--max-document-mb)")
            return
        if not data.strip():
            return
        with _quiet_library():
            page = bare_extraction(decode_file(data), favor_precision=True, include_comments=False, with_metadata=True)
        text = (getattr(page, "text", None) or "").strip()
        if not text:
            intake.pages_without_text += 1  # as of any crawl: no damage
            return
        known = {name: getattr(page, name, None) for name in ("title", "url", "date")}
        try:
            check_text(text)
        except DataError as error:
            intake.note("no text", path, "", str(error))
            return
        yield Document(
            id=source.name_of(path),
            text=text,
            source=source.name,
            metadata={name: value for name, value in known.items() if value},
        )


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Keep the library from telling of each page that has no text, which is counted here."""
    logger = logging.getLogger("trafilatura")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
