"""A document: a text with its id, its source, and whatever else is known of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qwen7b.errors import DataError, quoted

CODE = "code"
"""What a document's language is called that is a program; which language of programs is in its metadata's `code`."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A text and what is known of it; its JSON is a line that datatrove's readers take as well."""

    id: str
    text: str
    source: str
    """The name of what it came from, such as a crawl or a book shelf."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """All else that its file says of it, such as a url, and what was found out since, such as its language."""

    @property
    def language(self) -> str:
        """Its language's ISO 639 code, `code` for a program; empty before it was identified."""
        return str(self.metadata.get("language", ""))

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "id": self.id, "source": self.source, "metadata": dict(self.metadata)}


def document_of(
    fields: Mapping[str, Any], *, place: str, source: str, is_named: bool, text_field: str, id_field: str
) -> Document:
    """The document that a record holds, such as a line of JSON. Raises DataError, without a place, for one without.

    What is neither text nor id becomes metadata; so does what the record has in an object "metadata". `place` serves as
    id where there is none, and `source` as source, always if it `is_named` by the user. Of metadata NaN and infinite
    numbers, which JSON has not, become null.
    """
    more = dict(fields)
    if not isinstance(text := more.pop(text_field, None), str):
        if text is None:
            names = ", ".join(map(str, fields)) or "none"
            raise DataError(f"it has no text in the field {text_field!r}, found {names}: name it by --text-field")
        raise DataError(f"its field {text_field!r} should be a text, found {quoted(text)}")
    check_text(text)
    name = more.pop(id_field, None)
    own_source = more.pop("source", None)
    metadata = more.pop("metadata", None)
    if isinstance(metadata, Mapping):
        more = {**metadata, **more}
    elif metadata is not None:
        more["metadata"] = metadata
    if isinstance(own_source, str) and own_source and not is_named:
        source = own_source
    elif own_source is not None:
        more["original_source"] = own_source
    try:
        more = _with_finite_numbers(more)
    except RecursionError:
        raise DataError("what it says beside its text is nested too deeply") from None
    return Document(id=place if name in (None, "") else str(name), text=text, source=source, metadata=more)


def _with_finite_numbers(value: Any) -> Any:
    """A value of JSON in which None stands for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {name: _with_finite_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_finite_numbers(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_text(text: str) -> None:
    """Raise DataError, without a place, for a text that no UTF-8 file can hold or that is no text."""
    if "\0" in text:
        raise DataError(f"character {text.index(chr(0)):,} of its text is NUL, which no text has")
    if not text.isascii() and (half := _SURROGATE.search(text)):
        raise DataError(
            f"character {half.start():,} of its text is half of a surrogate pair (U+{ord(half[0]):04X}), which is no "
            "character"
        )
