"""A run's folder: its recipe, its log, and the steps that were saved, each of which appears whole or not at all.

RUN/recipe.toml              the resolved recipe: a run goes on only with the same
RUN/log.jsonl                what every step did, the same in every run of the recipe
RUN/speed.jsonl              how long it took
RUN/steps/step-00000500/     weights, `optimizer.safetensors`, and `state.json`: the step and the log's length
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from qwen7b.errors import CheckpointError, SettingError, quoted
from qwen7b.files.checksums import check_tensors
from qwen7b.files.safetensors_file import open_safetensors
from qwen7b.files.tensor_file import FileTensor, TensorFile
from qwen7b.hub.saved_steps import RECIPE, STEPS, saved_steps
from qwen7b.model import Transformer
from qwen7b.system.json_file import read_json
from qwen7b.system.progress import say
from qwen7b.system.regular_file import named_text
from qwen7b.system.storage import refusing_others, storage_errors
from qwen7b.system.whole_file import PART_SUFFIX, write_text_whole
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.ranks import ALONE, Ranks
from qwen7b.train.recipe_file import recipe_text

_PARTIAL = ".partial"
_FACT = re.compile(r"# [\w -]+: (?:[0-9a-f]{16,}|none)")
"""A line for what a run depends on beside its recipe: a hash."""


class WeightFiles(Protocol):
    """How a run's weights lie in a saved step: a whole checkpoint, or an adapter. Nothing may be lost."""

    def save(self, model: Transformer, folder: Path, ranks: Ranks) -> TensorFile | None:
        """Write all that the folder needs but for a large file of weights, which is returned to be filled."""

    def restore(self, model: Transformer, folder: Path, ranks: Ranks) -> None:
        """Fill the model. Raises CheckpointError where the files belong to another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedStep:
    """What a saved step knows beside weights and optimizer."""

    step: int
    """The steps that were done, which is all the state that the order of the data has."""
    log_bytes: int
    """The length of the log at that time."""


class RunFolder:
    """The folder of one run, which one process at a time may write, or the ranks of one group: all of them see it."""

    def __init__(self, path: Path, ranks: Ranks = ALONE) -> None:
        self.path, self.ranks = path, ranks
        self.steps = path / STEPS
        self.log_path = path / "log.jsonl"
        self.speed_path = path / "speed.jsonl"
        self.recipe_path = path / RECIPE
        self._saving: tuple[Path, int, Future[Any]] | None = None
        """The folder of a step that is being written, how many stay beside it, and what tells that it is written."""

    @contextmanager
    def held(self, recipe: Any, *, facts: Mapping[str, str] | None = None) -> Iterator[None]:
        """Lock the folder, which is made where there is none, for a run of this resolved recipe.

        `facts` are what the run depends on beside it, such as a hash of its data; they are kept as comments. Raises
        SettingError where the folder has the run of another recipe or other facts, or is something else.
        """
        text = recipe_text(recipe) + "".join(f"# {name}: {fact}\n" for name, fact in (facts or {}).items())
        with ExitStack() as stack:
            self.ranks.on_first(lambda: self._take(text, stack))
            yield

    def _take(self, text: str, stack: ExitStack) -> None:
        with storage_errors(self.path, variable=None):
            if not self.recipe_path.exists() and (others := self._others()):
                raise SettingError(
                    f"{self.path} holds {others[0]} and no run: choose another folder, which need not be there yet"
                )
            self.steps.mkdir(parents=True, exist_ok=True)
            stack.enter_context(refusing_others(self.path, doing=f"training in {self.path}"))
        for partial in self.steps.glob(f"*{_PARTIAL}"):  # of a process that was stopped while it saved or removed
            shutil.rmtree(partial)
        for part in self.path.glob(f".*{PART_SUFFIX}"):  # or while it wrote a small file
            part.unlink()
        if self.recipe_path.exists():
            self._check_recipe(text)
        else:
            with storage_errors(self.path, variable=None):
                write_text_whole(self.recipe_path, text)

    def _others(self) -> list[str]:
        """What the folder has that a run which was killed at its very beginning does not leave."""
        names = sorted(os.listdir(self.path)) if self.path.exists() else []
        return [name for name in names if name not in (".lock", "steps") and not name.endswith(PART_SUFFIX)]

    def _check_recipe(self, text: str) -> None:
        kept = _what_counts(named_text(self.recipe_path))
        lines = zip_longest(kept, _what_counts(text), fillvalue="nothing")
        other, own = next((pair for pair in lines if not _mean_the_same(*pair)), (None, None))
        if other is None or own is None:
            return
        raise SettingError(
            f"{self.path} has the run of another recipe, with {quoted(other)} where this one has {quoted(own)}: choose "
            "another folder, or give the recipe that the folder holds"
        )

    def saved_steps(self) -> list[Path]:
        """The folders of saved steps, the earliest first."""
        return saved_steps(self.path)

    @property
    def last_step(self) -> int:
        """How many steps were done when the last was saved."""
        return max((int(path.name[5:]) for path in self.saved_steps()), default=0)

    def save(
        self, saved: SavedStep, *, model: Transformer, optimizers: Optimizers, weights: WeightFiles, keep: int
    ) -> None:
        """Begin to save a step; `finish_saving` ends it and removes all but the last `keep`.

        Whenever a process or the machine stops, the folder of a step is there whole or not at all. Raises
        ResourceError where the disk is full.
        """
        self.finish_saving()
        partial = self.steps / f"step-{saved.step:08}{_PARTIAL}"
        with self._whole_or_gone(partial):
            self.ranks.on_first(partial.mkdir)
            remembered = optimizers.tensors()
            entries = {
                name: FileTensor(source=name, dtype=value.dtype, shape=tuple(value.shape))
                for name, value in remembered.items()
            }
            of_weights = weights.save(model, partial, self.ranks)
            files = [TensorFile(partial / "optimizer.safetensors", entries)]
            tensors = dict(remembered)
            if of_weights is not None:
                files.append(of_weights)
                tensors |= {name: weight.detach() for name, weight in model.named_parameters()}
            state = json.dumps(asdict(saved))
            self.ranks.on_first(lambda: (partial / "state.json").write_text(state, encoding="utf-8"))
            written = self.ranks.write(files, tensors)
        self._saving = partial, keep, written
        self.finish_saving(wait=False)

    def finish_saving(self, *, wait: bool = True) -> None:
        """Give the step that is being saved its name, once all of it is written. Raises what `save` raises."""
        if self._saving is None or not (wait or self._saving[2].done()):
            return
        (partial, keep, written), self._saving = self._saving, None
        with self._whole_or_gone(partial):
            written.result()
            if self.ranks.rank != 0:
                return
            make_durable(partial)
            os.rename(partial, partial.with_name(partial.name.removesuffix(_PARTIAL)))
            _sync(self.steps)
            for old in self.saved_steps()[:-keep]:
                gone = old.with_name(old.name + _PARTIAL)
                os.rename(old, gone)  # so that none is ever there in part
                shutil.rmtree(gone)

    @contextmanager
    def _whole_or_gone(self, partial: Path) -> Iterator[None]:
        with storage_errors(self.path, variable=None):
            try:
                yield
            except BaseException:
                if self.ranks.rank == 0:
                    shutil.rmtree(partial, ignore_errors=True)
                raise

    def restore(self, *, model: Transformer, optimizers: Optimizers, weights: WeightFiles) -> SavedStep | None:
        """Fill model and optimizers from the last saved step; None where none was saved.

        Raises CheckpointError where it is damaged or of another model.
        """
        folders = self.ranks.on_first(self.saved_steps)
        if not folders:
            return None
        folder = folders[-1]
        fields = read_json(folder / "state.json")
        try:
            saved = SavedStep(**fields)
        except TypeError as error:
            raise CheckpointError(f"{folder / 'state.json'} is not what was written there: {error}") from None
        weights.restore(model, folder, self.ranks)
        remembered = folder / "optimizer.safetensors"
        if not self.ranks.on_first(lambda: check_tensors(remembered, remedy="start from an earlier step")):
            raise CheckpointError(f"{remembered} has no checksums: it is not what was written there")
        optimizers.restore(open_safetensors(remembered), source=str(remembered), ranks=self.ranks)
        say(f"Going on after step {saved.step:,}, which {folder} holds.")
        return saved


def _what_counts(recipe: str) -> list[str]:
    """The lines of a kept recipe but for its documentation, which another release may word otherwise."""
    return [line for line in recipe.splitlines() if line and (not line.startswith("#") or _FACT.fullmatch(line))]


def _mean_the_same(line: str, other: str) -> bool:
    """Whether two lines of kept recipes say the same, however a number is written."""
    try:
        return line == other or (line[0] != "#" and tomllib.loads(line) == tomllib.loads(other))
    except tomllib.TOMLDecodeError:
        return False


def make_durable(folder: Path) -> None:
    """Wait until the disk has all files of a folder."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


Evaluate = Callable[[int], dict[str, Any]]
"""What is looked at after a step, by its number: fields for the log, none where it is not the time."""
