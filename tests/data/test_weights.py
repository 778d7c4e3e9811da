"""Weights take the share that they say, always the same documents."""

from __future__ import annotations

import pytest

from qwen7b.data import Document, Weights
from qwen7b.errors import SettingError

DOCUMENTS = [
    Document(id=str(n), text="x", source="wiki" if n % 2 else "web", metadata={"language": "zh" if n % 4 > 1 else "en"})
    for n in range(4000)
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 4000), ("wiki=0.25", 2500), ("wiki=2.5", 7000), ("zh=0", 2000), ("wiki=2,zh=0.5", 4500), ("web:zh=3", 6000)],
)
def test_as_many_are_taken_as_weights_say(text: str, expected: int) -> None:
    weights = Weights.parsed(text)
    drawn = [copy for document in DOCUMENTS for copy in weights.drawn(document)]
    assert abs(len(drawn) - expected) < 80
    assert len({copy.id for copy in drawn}) == len(drawn)


def test_the_same_are_taken_in_any_order_and_others_by_another_seed() -> None:
    def taken(documents: list[Document], seed: int) -> set[str]:
        return {d.id for d in documents if Weights.parsed("web=0.5,wiki=0.5", seed=seed).copies_of(d)}

    assert taken(DOCUMENTS, 0) == taken(DOCUMENTS[::-1], 0) != taken(DOCUMENTS, 1)


@pytest.mark.parametrize("text", ["wiki", "wiki=", "=2", "wiki=much", "wiki=-1", "wiki=nan", "wiki=1000"])
def test_what_is_no_weight_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        Weights.parsed(text)
