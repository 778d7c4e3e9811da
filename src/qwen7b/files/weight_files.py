"""Which files of a folder hold its weights: by an index, by the usual names, by numbers, or because no others do.

Folders come from many tools. The first set that is complete and readable is taken, with a warning where it is not
the usual one.
"""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qwen7b.errors import CheckpointError, Qwen7bError, Report, counted, fail
from qwen7b.files.file_names import WEIGHT_SUFFIXES, is_safetensors, is_weights
from qwen7b.files.pickled_file import open_pickle
from qwen7b.files.safetensors_file import open_safetensors
from qwen7b.files.stored import StoredTensor
from qwen7b.system.json_file import read_json
from qwen7b.system.regular_file import folder_names

_USUAL = re.compile(r"model\.safetensors|pytorch_model\.bin|gptq_model.*\.(safetensors|bin)", re.IGNORECASE)
_INDEX = re.compile(r"(?P<whole>.+\.(safetensors|bin))\.index(\.[\w-]+)?\.json", re.IGNORECASE)
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d{1,5})(?P<of>[-_]of[-_](?P<total>\d{1,5}).*)", re.IGNORECASE)
_NO_MODEL = re.compile(
    "(adapter|lora|non_lora|optim|scheduler|scaler|rng_state|random_states|training_args|trainer_state|value_head"
    "|v_head|mm_projector|zero_pp|mp_rank|imatrix|arguments)",
    re.IGNORECASE,
)
"""The beginnings of the names of files that training leaves beside the weights."""

# Prefixes of DistributedDataParallel, torch.compile, Lightning, FSDP and PEFT, whose wrappers were saved too.
_WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.", "base_model.model.", "model.")
_WRAPPED = (*_WRAPPERS, "transformer.", "lm_head.")
"""What follows a wrapper's prefix in a name; the names of a Qwen2 itself begin with "model." too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSet:
    """One set of files that may be a folder's weights."""

    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    index: Path | None = None
    weight_map: Mapping[str, str] = field(default_factory=dict)
    """The file of each tensor, as the index says."""
    problem: Qwen7bError | None = None
    """Why these files cannot be read, where that is known before they are opened."""
    remark: str = ""
    """A warning for the user if these files are read."""

    @property
    def name(self) -> str:
        return self.index.name if self.index else self.files[0].name


def open_weights(folder: Path, *, report: Report = fail) -> dict[str, StoredTensor]:
    """The tensors of a checkpoint folder by name.

    Where no set of files is complete, the missing and damaged ones of the first set are reported, and the tensors in
    its other files are returned.
    """
    file_sets = list(_file_sets(folder))
    if not file_sets:
        names = ", ".join(folder_names(folder)[:8]) or "nothing"
        raise CheckpointError(
            f"{folder} holds no weights: model.safetensors or pytorch_model.bin (or their .index.json) should be "
            f"there, found {names:.300}"
        )
    problem: Qwen7bError | None = None
    for file_set in file_sets:
        try:
            tensors = _open(folder, file_set, fail)
        except Qwen7bError as error:
            problem = problem or error
            continue
        if problem:
            _warn(f"{folder} is read from {file_set.name}, as {file_sets[0].name} cannot be read: {problem}")
        elif file_set.remark:
            _warn(file_set.remark)
        return _unwrapped(folder, tensors)
    return _open(folder, file_sets[0], report)


def has_weights(folder: Path) -> bool:
    """Whether a folder has files that might hold a model's weights, GGUF files aside."""
    return any(_may_be_weights(name) or _INDEX.fullmatch(name) for name in folder_names(folder))


def numbered_shards(folder: Path) -> tuple[Path, ...]:
    """The shards whose names say "1 of 2" and so on, in order; an empty tuple where one is missing."""
    return next((file_set.files for file_set in _numbered_sets(folder) if not file_set.missing), ())


def _file_sets(folder: Path) -> Iterator[FileSet]:
    """The sets of files that may be the weights, the likeliest first."""
    names = sorted(folder_names(folder), key=lambda name: (not is_safetensors(name), name))
    indices = {match["whole"]: folder / name for name in reversed(names) if (match := _INDEX.fullmatch(name))}
    single_files = [name for name in names if _may_be_weights(name) and not _NUMBERED.fullmatch(name)]
    usual = [name for name in single_files if _USUAL.fullmatch(name) or name in indices]
    for name in sorted(dict.fromkeys([*usual, *indices]), key=lambda name: not is_safetensors(name)):
        yield from _sets_by_name(folder, name, indices.get(name), exists=name in usual)
    numbered = _numbered_sets(folder)
    yield from (file_set for file_set in numbered if not file_set.missing)
    for suffix in WEIGHT_SUFFIXES:
        if files := [folder / name for name in single_files if name.lower().endswith(suffix) and name not in usual]:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            yield FileSet(
                files=tuple(files),
                remark=f"{files[0]}{more}: read as weights despite the unusual name, as the folder has no others",
            )
    yield from (file_set for file_set in numbered if file_set.missing)


def _sets_by_name(folder: Path, name: str, index: Path | None, *, exists: bool) -> Iterator[FileSet]:
    """The sets that a single file of this name and the index of its shards make, the more complete one first."""
    if index is None:
        yield FileSet(files=(folder / name,))
        return
    try:
        weight_map = _weight_map(index)
    except Qwen7bError as error:
        yield from [FileSet(files=(folder / name,))] * exists
        yield FileSet(files=(), index=index, problem=error)
        return
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if Path(shard).name != shard or not os.path.isfile(folder / shard)]
    sharded = FileSet(
        files=tuple(folder / shard for shard in shards if shard not in missing),
        missing=tuple(missing),
        index=index,
        weight_map=weight_map,
    )
    if not exists or shards == [name]:
        yield sharded
        return
    remark = f"{folder / name} is read, and not the shards that {index.name} beside it lists: remove what is outdated"
    whole = FileSet(files=(folder / name,), remark=remark)
    try:
        names = open_weight_file(folder / name).keys()
    except Qwen7bError:
        yield from (sharded, whole)
        return
    if weight_map.keys() <= names or len(missing) == len(shards):
        yield from (whole, sharded)
    elif names < weight_map.keys():  # a remainder that trainers leave which split a model among GPUs
        yield sharded
    else:
        yield from (sharded, whole)


def _numbered_sets(folder: Path) -> list[FileSet]:
    """The sets of files whose names say "1 of 2" and so on, grouped by the rest of their names."""
    sets: dict[tuple[str, str], dict[int, str]] = {}
    for name in folder_names(folder):
        if _may_be_weights(name) and (match := _NUMBERED.fullmatch(name)):
            sets.setdefault((match["before"], match["of"]), {})[int(match["number"])] = name
    file_sets = []
    for (before, of), shards in sorted(sets.items(), key=lambda each: (not is_safetensors(each[0][1]), each)):
        match = _NUMBERED.fullmatch(next(iter(shards.values())))
        assert match
        first = 0 if 0 in shards else 1
        numbers = range(first, int(match["total"]) + first)
        missing = [f"{before}{number:0{len(match['number'])}}{of}" for number in numbers if number not in shards]
        remark = (
            f"{folder} has no index that says what its shards hold, without which other programs fail: "
            f"'qwen7b doctor {shlex.quote(str(folder))} --fix NEW_FOLDER' writes it"
        )
        files = tuple(folder / shards[number] for number in sorted(shards))
        file_sets.append(FileSet(files=files, missing=tuple(missing), remark=remark))
    return file_sets


def _open(folder: Path, file_set: FileSet, report: Report) -> dict[str, StoredTensor]:
    if file_set.problem:
        raise file_set.problem
    if file_set.missing:
        report(
            CheckpointError(
                f"{folder} lacks {len(file_set.missing)} of "
                f"{counted(len(file_set.files) + len(file_set.missing), 'shard')} "
                f"({', '.join(file_set.missing):.200}): download them again"
            )
        )
    opened: dict[str, dict[str, StoredTensor]] = {}
    for file in file_set.files:
        try:
            opened[file.name] = open_weight_file(file)
        except Qwen7bError as error:
            report(error)
    if file_set.index is None:
        return _merged(folder, opened)
    absent = [name for name, shard in file_set.weight_map.items() if shard in opened and name not in opened[shard]]
    if absent:
        report(
            CheckpointError(
                f"{file_set.weight_map[absent[0]]} lacks tensor {absent[0]!r:.200}, which {file_set.index.name} places "
                "there: download it again"
            )
        )
    places = file_set.weight_map.items()
    return {name: opened[shard][name] for name, shard in places if shard in opened and name in opened[shard]}


def _merged(folder: Path, opened: Mapping[str, Mapping[str, StoredTensor]]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for shard in opened.values():
        if duplicates := tensors.keys() & shard.keys():
            raise CheckpointError(
                f"{folder} has the tensor {min(duplicates)!r:.100} in several files ({', '.join(opened):.200}): they "
                "are several models, or one that was split across GPUs: leave only the files of one model there"
            )
        tensors |= shard
    return tensors


def _unwrapped(folder: Path, tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Remove the prefix of a wrapper that held the model when it was saved, where all names have it."""
    for wrapper in _WRAPPERS:
        names = tuple(wrapper + name for name in _WRAPPED)
        if tensors and all(name.startswith(names) for name in tensors):
            _warn(f"the names of all tensors in {folder} begin with {wrapper!r}: the prefix is ignored")
            return _unwrapped(folder, {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()})
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return {str(name): str(shard) for name, shard in read_json(index)["weight_map"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: it has no weight_map of shard files; download it again") from error


def _may_be_weights(name: str) -> bool:
    return is_weights(name) and not _NO_MODEL.match(name)


def _warn(remark: str) -> None:
    warnings.warn(remark, stacklevel=4)


def open_weight_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors or pickled file by name."""
    return open_safetensors(path) if is_safetensors(path.name) else open_pickle(path)
