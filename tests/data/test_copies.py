"""Copies and near copies are found, as many as the theory says and no others, and one of each cluster stays."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from data.planted import jaccard, planted_pair, word
from data.texts import CHINESE, ENGLISH
from qwen7b.data import Document, NearCopySettings
from qwen7b.data.copies import Clusters, Copies, CopyFinder, text_digest
from qwen7b.errors import SettingError

pytest.importorskip("rensa")
pytest.importorskip("datatrove")


def find(folder: Path, texts: list[str], *, batch: int = 100, **settings) -> Copies:
    documents = [Document(id=f"文{n}", text=text, source="s") for n, text in enumerate(texts)]
    with CopyFinder(folder, NearCopySettings(**settings)) as finder:
        for start in range(0, len(texts), batch):
            finder.add(documents[start : start + batch])
        assert len(finder) == len(texts) and all(finder.id_of(n) == d.id for n, d in enumerate(documents))
        return finder.find()


def test_equal_texts_are_copies_but_for_case_and_blanks(tmp_path: Path) -> None:
    copies = find(tmp_path, ["a b  c", "other", "A b\nc", "1 2 3", "1 2 4", "?", "!", "e\u0301", "\u00e9"])
    assert copies.kept_for.tolist() == [0, 1, 0, 3, 4, 5, 6, 7, 7]
    assert copies.is_exact.all()


def test_the_longest_stays_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    longer = ENGLISH + "One more sentence stands here at the end.\n"
    copies = find(tmp_path, [ENGLISH, longer, ENGLISH, longer, CHINESE, CHINESE + "完。"])
    assert copies.kept_for.tolist() == [1, 1, 1, 1, 5, 5]
    assert copies.is_exact.tolist() == [False, True, False, True, False, True]
    assert sorted(copies.cluster_sizes().tolist()) == [2, 4]


def test_copies_of_copies_are_one_cluster(tmp_path: Path) -> None:
    words = [word(n) for n in range(400)]
    chain = [" ".join(words[start : start + 200]) for start in range(0, 160, 16)]
    assert jaccard(chain[0], chain[1]) > 0.8 and jaccard(chain[0], chain[-1]) < 0.4
    assert len(set(find(tmp_path, chain, bands=40, rows=4).kept_for.tolist())) == 1


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_change_nothing(tmp_path: Path, batch: int) -> None:
    random = Random(0)
    texts = [text for _ in range(20) for text in planted_pair(0.85, random)] + [ENGLISH, "", CHINESE, ENGLISH]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = find(tmp_path / "a", texts), find(tmp_path / "b", texts, batch=batch)
    assert one.kept_for.tolist() == other.kept_for.tolist() and one.candidates == other.candidates


def test_planted_pairs_have_the_similarity_that_is_planted() -> None:
    random = Random(1)
    for similarity in (0.5, 0.7, 0.8, 0.9, 1.0):
        found = jaccard(*planted_pair(similarity, random))
        assert similarity <= found < similarity + 0.01


def test_near_copies_are_found_and_others_are_not(tmp_path: Path) -> None:
    """The expected recall is 0.924 at 0.8 and 0.9996 at 0.9; pairs below the limit never count, however they meet."""
    random = Random(2)
    similarities = (0.5, 0.6, 0.7, 0.74, 0.76, 0.8, 0.9, 0.95, 1.0)
    planted = [(similarity, planted_pair(similarity, random)) for similarity in similarities for _ in range(300)]
    copies = find(tmp_path, [text for _, pair in planted for text in pair], batch=500)
    kept_for = copies.kept_for.reshape(-1, 2)
    assert (kept_for // 2 == np.arange(len(planted))[:, None]).all()  # no pair joined another
    found = dict.fromkeys(similarities, 0)
    for (similarity, _), (first, second) in zip(planted, kept_for.tolist(), strict=True):
        found[similarity] += first == second
    assert found[0.5] == found[0.6] == found[0.7] == found[0.74] == 0
    assert found[0.76] >= 0.75 * 300  # of 0.81 that are expected
    assert found[0.8] >= 0.9 * 300 and found[0.9] >= 299 and found[0.95] == found[1.0] == 300


def test_clusters_are_joined_whatever_the_order() -> None:
    pairs = [(1, 2), (3, 4), (2, 3), (7, 8)]
    for order in (pairs, pairs[::-1]):
        clusters = Clusters(9)
        for first, second in order:
            clusters.join(second, first)
        assert [clusters.find(n) for n in range(9)] == [0, 1, 1, 1, 1, 5, 6, 7, 7]


def test_digests_differ_where_texts_do() -> None:
    assert text_digest("Straße  x") == text_digest("STRASSE\nX") != text_digest("strasse y")


def test_wrong_settings_are_named() -> None:
    for wrong in ({"bands": 0}, {"rows": 0}, {"ngram": 0}, {"min_similarity": 0}, {"min_similarity": 1.5}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            NearCopySettings(**wrong)
