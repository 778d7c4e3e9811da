"""Recipes: every preset is read back as it was written, and what is wrong in one is named."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from qwen7b.adapters.settings import LoraSettings
from qwen7b.errors import SettingError
from qwen7b.train.finetune_recipe import FinetuneRecipe
from qwen7b.train.optimizer_settings import Muon
from qwen7b.train.presets import MEMO, PRESETS, REPORT, TINY
from qwen7b.train.recipe import PretrainRecipe, Shape, Training
from qwen7b.train.recipe_file import field_docs, read_recipe, recipe_text
from qwen7b.train.schedule import Cosine, WarmupStableDecay


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_read_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    assert read_recipe(written(tmp_path, recipe_text(PRESETS[name])), PretrainRecipe) == PRESETS[name]


def tables(kind: type) -> typing.Iterator[type]:
    """A dataclass and all that its fields may hold."""
    yield kind
    for hint in typing.get_type_hints(kind).values():
        for inner in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(inner):
                yield from tables(inner)


@pytest.mark.parametrize("kind", dict.fromkeys(tables(PretrainRecipe)), ids=lambda kind: kind.__name__)
def test_every_setting_is_documented_and_its_documentation_written(kind: type) -> None:
    names = {field.name for field in dataclasses.fields(kind)}
    assert field_docs(kind).keys() == names
    # A table that not every preset has, as Cosine's, is written by those that have it.
    comments = re.sub(r"\s*\n# ", " ", "".join(map(recipe_text, PRESETS.values())))
    for name, doc in field_docs(kind).items():
        assert doc in comments, name


def test_the_two_documents_disagree_in_epsilon_and_tokens() -> None:
    assert (MEMO.training.optimizer.epsilon, REPORT.training.optimizer.epsilon) == (1e-6, 1e-8)
    tokens = [recipe.training.steps * recipe.corpus.rows * recipe.corpus.length for recipe in (MEMO, REPORT)]
    assert tokens == [pytest.approx(2.2e12, rel=1e-5), pytest.approx(2.4e12, rel=1e-5)]
    assert MEMO.training.schedule == Cosine(warmup_steps=2000, final_fraction=0.1)
    assert (TINY.training.optimizer.KIND, TINY.training.schedule.KIND) == (Muon.KIND, WarmupStableDecay.KIND)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("micro_rows", "micro_row", r"\[corpus\] has the unknown setting 'micro_row': did you mean micro_rows\?"),
        ("weight_decay", "decay", r"\[training.optimizer\] has the unknown setting 'decay': did you mean weight_decay"),
        ("[model]", "[modle]", r"unknown setting 'modle': did you mean model\?"),
        ("rows = 16", 'rows = "16"', r"\[corpus\]: rows must be a whole number, found '16'"),
        ("rows = 16", "rows = 16.0", r"\[corpus\]: rows must be a whole number, found 16.0"),
        ("rows = 16", "rows = true", r"\[corpus\]: rows must be a whole number, found True"),
        ("rows = 16", "rows = 15", "rows must be a multiple of micro_rows, found 15 and 8"),
        ("mask_documents = false", "mask_documents = 0", "mask_documents must be true or false, found 0"),
        ('shards = ["shards"]', 'shards = "shards"', "shards must be a list, found 'shards'"),
        ('shards = ["shards"]', "shards = [1]", "shards must be a text in quotes, found 1"),
        ('shards = ["shards"]', "shards = []", "shards must name a folder at least"),
        (
            'kind = "muon"',
            'kind = "adam"',
            r"\[training.optimizer\]: kind must be one of 'adamw', 'muon', found 'adam'",
        ),
        ('kind = "muon"', "", r"kind must be one of 'adamw', 'muon', found None"),
        ('family = "qwen2"', 'family = "qwen3"', "family must be one of 'qwen', 'qwen2', found 'qwen3'"),
        ('family = "qwen2"', 'family = "qwen"', "first-generation Qwen has neither a tied head"),
        ('precision = "auto"', 'precision = "fp16"', "precision must be one of 'auto', 'float32', 'bfloat16'"),
        ("steps = 1000", "", r"\[training\] does not say steps \(The steps to train for"),
        (
            "warmup_steps = 50",
            "warmup_steps = 801",
            "warmup_steps must be at most the 800 steps before the last 200, in",
        ),
        (
            "decay_fraction = 0.2",
            "decay_fraction = 0.96",
            "warmup_steps must be at most the 40 steps before the last 960",
        ),
        ("hidden_size = 256", "hidden_size = 255", "hidden_size must be a multiple of num_heads, found 255"),
        ("[validation]", "[validation", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = recipe_text(TINY)
    assert text.count(old) >= 1
    pattern = rf"^{re.escape(old)}" if "=" in old or old.startswith("[") else rf"^{re.escape(old)}\b"
    changed = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
    assert changed != text
    with pytest.raises(SettingError, match=message) as caught:
        read_recipe(written(tmp_path, changed), PretrainRecipe)
    assert "recipe.toml" in str(caught.value) and "\n" not in str(caught.value).replace("valid TOML", "")


def test_a_whole_number_may_stand_for_a_float(tmp_path: Path) -> None:
    text = recipe_text(TINY).replace("max_grad_norm = 1.0", "max_grad_norm = 2")
    norm = read_recipe(written(tmp_path, text), PretrainRecipe).training.max_grad_norm
    assert (norm, type(norm)) == (2.0, float)


def test_a_whole_number_and_the_same_float_are_written_alike(tmp_path: Path) -> None:
    def tuned(number: type) -> FinetuneRecipe:
        lora = LoraSettings(targets=("w1",), alpha=number(32), dropout=number(0))
        return FinetuneRecipe(
            model="m", data=("d",), epochs=number(2), learning_rate=number(1), weight_decay=number(0), lora=lora
        )

    text = recipe_text(tuned(int))
    assert text == recipe_text(tuned(float)) and "alpha = 32.0" in text and "learning_rate = 1.0" in text
    assert recipe_text(read_recipe(written(tmp_path, text), FinetuneRecipe)) == text
    changed = re.sub(r"(alpha|epochs|learning_rate) = (\d+)\.0", r"\1 = \2", text)
    assert changed != text and recipe_text(read_recipe(written(tmp_path, changed), FinetuneRecipe)) == text


def test_the_cosine_falls_to_a_tenth() -> None:
    rates = [Cosine(warmup_steps=10).factor(step, steps=1000) for step in range(1000)]
    assert rates[:10] == [pytest.approx((step + 1) / 10) for step in range(10)]
    assert rates[10] == 1.0 and rates[-1] == pytest.approx(0.1) and sorted(rates[10:], reverse=True) == rates[10:]
    assert rates[10 + 989 // 2] == pytest.approx(0.55, abs=0.01)


def test_a_cosine_to_zero_leaves_the_last_step_a_rate() -> None:
    rates = [Cosine(warmup_steps=1, final_fraction=0.0).factor(step, steps=6) for step in range(6)]
    assert rates[:2] == [1.0, 1.0] and rates[-1] == pytest.approx((1 - 0.8090170) / 2)
    assert Cosine(final_fraction=0.0).factor(0, steps=1) == 1.0


def test_the_level_part_can_be_prolonged() -> None:
    schedule = WarmupStableDecay(warmup_steps=10, decay_fraction=0.2)
    short, long = ([schedule.factor(step, steps=steps) for step in range(steps)] for steps in (100, 1000))
    assert short[:80] == long[:80] and set(short[10:81]) == {1.0}
    assert short[-1] == pytest.approx(1 / 20) and schedule.factor(90, steps=100) == 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data", ()),
        ("learning_rate", -1),
        ("learning_rate", 0),
        ("seed", -1),
        ("beta2", 7),
        ("weight_decay", 5),
        ("keep", 0),
        ("save_every", 0),
        ("precision", "x"),
        ("mode", "x"),
        ("activation_checkpointing", 1),
    ],
)
def test_a_recipe_of_fine_tuning_is_checked_where_it_is_made(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"^{name} must"):
        FinetuneRecipe(**{"model": "m", "data": ("d",), name: value})


def test_settings_are_checked_where_they_are_made() -> None:
    with pytest.raises(SettingError, match="num_kv_heads must be a whole number from 1"):
        Shape(hidden_size=64, num_layers=1, num_heads=4, feed_forward_size=64, family="qwen2", num_kv_heads=0)
    with pytest.raises(SettingError, match="precision must be one of auto, float32, bfloat16, found 'half'"):
        Training(steps=10, precision="half")
    with pytest.raises(SettingError, match="spike_factor must be above 1"):
        Training(steps=10, spike_factor=1.0)
    with pytest.raises(SettingError, match="warmup_steps must be at most the 10 steps of the run, found 11"):
        Training(steps=10, schedule=Cosine(warmup_steps=11))
    with pytest.raises(SettingError, match="beta2 must be below 1"):
        Muon(beta2=1.0)
