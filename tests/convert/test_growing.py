"""A model with rows for added tokens: old tokens as they were, new ones from their parts, in a folder that loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import converting
import tiny
from qwen7b.convert import grow
from qwen7b.errors import CheckpointError, SettingError
from qwen7b.loading import load_model
from qwen7b.text import Tokenizer, load_tokenizer
from qwen7b.vocab.extended_vocabulary import extended, parts_of
from qwen7b.vocab.row_initials import Initial
from text.conftest import qwen_vocabulary  # noqa: F401  # a fixture

FEW = [b"hellth", b"hellthe", "你你".encode()]
MANY = [bytes([97 + n // 26, 97 + n % 26]) * 2 for n in range(80)]
MANY = [token for pair in MANY for token in (pair[:2], pair)]  # a token needs two others that join to it


@pytest.fixture(scope="module", params=["qwen", "qwen2", "llama"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converting.write_source(tmp_path_factory.mktemp("source") / request.param, request.param)


def tokens_for(source: Path, wanted: list[bytes]) -> tuple[Tokenizer, list[bytes]]:
    tokenizer = load_tokenizer(source)
    new = [token for token in dict.fromkeys(wanted) if token not in tokenizer.vocabulary.ids]
    return tokenizer, new


@torch.inference_mode()
def logits(path: Path) -> torch.Tensor:
    return load_model(path, dtype=torch.float32)(tiny.IDS)


@pytest.mark.parametrize("wanted", [FEW, MANY], ids=["free rows", "more rows"])
def test_old_tokens_stay_and_new_ones_are_made_of_their_parts(
    source: Path, tmp_path: Path, wanted: list[bytes]
) -> None:
    before, new = tokens_for(source, wanted)
    result = grow(source, tmp_path / "grown", extended(before.vocabulary, new), initial=Initial.MEAN)
    size = before.vocab_size
    assert (result.rows_before, result.free_rows, result.added) == (tiny.ROWS, tiny.ROWS - size, len(new))
    assert result.rows_after == (tiny.ROWS if size + len(new) <= tiny.ROWS else 384 if size + len(new) <= 384 else 512)
    assert result.largest_logit_difference <= 1e-5
    old, model = load_model(source, dtype=torch.float32), load_model(tmp_path / "grown", dtype=torch.float32)
    for name, kind in (("embedding", old.embedding), ("head", old.head)):
        grown = getattr(model, name).weight
        assert grown.shape[0] == result.rows_after
        assert torch.equal(grown[:size], kind.weight[:size])
        for number, token in enumerate(new):
            expected = kind.weight[parts_of(token, before.vocabulary)].mean(0)
            torch.testing.assert_close(grown[size + number], expected)
    assert result.is_tied == (model.head.weight is model.embedding.weight)
    torch.testing.assert_close(logits(tmp_path / "grown")[..., :size], logits(source)[..., :size])
    after = load_tokenizer(tmp_path / "grown")
    assert after.encode(new[-1].decode()) == [size + len(new) - 1]
    assert after.encode("hell the ab") == before.encode("hell the ab") or wanted is MANY


def test_rows_that_no_token_has_are_zero(source: Path, tmp_path: Path) -> None:
    before, new = tokens_for(source, MANY)
    result = grow(source, tmp_path / "grown", extended(before.vocabulary, new))
    rows = load_model(tmp_path / "grown", dtype=torch.float32).embedding.weight
    assert before.vocab_size + len(new) < result.rows_after
    assert not rows[before.vocab_size + len(new) :].any()


def test_the_originals_vocabulary_stays_as_it_was(qwen_vocabulary: Path, tmp_path: Path) -> None:  # noqa: F811
    """The folder has qwen.tiktoken as it was and the added tokens beside it, where 85 rows are free."""
    config = {**tiny.V11_CONFIG, "vocab_size": 151936, "tokenizer_class": "QWenTokenizer"}
    tensors = tiny.qwen_tensors()
    for name in ("transformer.wte.weight", "lm_head.weight"):
        tensors[name] = tiny.random_tensor(151936, tiny.HIDDEN)
    source = tiny.write_folder(tmp_path / "source", config, tensors)
    (source / "qwen.tiktoken").symlink_to(qwen_vocabulary)
    before = load_tokenizer(source)
    added = ["只猫".encode(), "是一只猫".encode()]
    result = grow(source, tmp_path / "grown", extended(before.vocabulary, added))
    assert (result.free_rows, result.rows_after, result.added) == (85, 151936, 2)
    assert (tmp_path / "grown" / "qwen.tiktoken").read_bytes() == qwen_vocabulary.read_bytes()
    assert (tmp_path / "grown" / "qwen_extra.tiktoken").read_text() == "5Y+q54yr 151851\n5piv5LiA5Y+q54yr 151852\n"
    assert load_tokenizer(tmp_path / "grown").encode("我是一只猫")[-1] == 151852
    again = load_tokenizer(tmp_path / "grown")
    third = grow(tmp_path / "grown", tmp_path / "third", extended(again.vocabulary, ["我是一只猫".encode()]))
    assert (third.free_rows, load_tokenizer(tmp_path / "third").encode("我是一只猫")) == (83, [151853])


def test_what_makes_no_sense_is_refused(source: Path, tmp_path: Path) -> None:
    before, new = tokens_for(source, FEW)
    ids = {token: id + 1000 for token, id in before.vocabulary.ids.items()}
    with pytest.raises(SettingError, match="is not the vocabulary of"):
        grow(source, tmp_path / "grown", replace(before.vocabulary, ids=ids))
    with pytest.raises(CheckpointError, match="has no token more"):
        grow(source, tmp_path / "grown", before.vocabulary)
    (tmp_path / "there").mkdir()
    with pytest.raises(SettingError, match="exists already"):
        grow(source, tmp_path / "there", extended(before.vocabulary, new))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
