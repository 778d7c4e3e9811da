"""Which files of a folder hold its weights: by an index, by the usual names, by numbers, or because nothing else does.

Folders come from many tools: the first way to read one that gives whole files is taken, with a warning where that was
not the usual way.
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
from qwen7b.files.file_names import WEIGHTS, is_safetensors, is_weights
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
"""How names of files begin that training leaves beside the weights."""

# Of DistributedDataParallel, torch.compile, Lightning, FSDP and PEFT, whose wrappers were saved along.
_WRAPPERS = ("module.", "_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.", "base_model.model.", "model.")
_WRAPPED = (*_WRAPPERS, "transformer.", "lm_head.")
"""How names go on behind a wrapper's; a Qwen2's own begin with "model." too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to read a folder's weights."""

    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    index: Path | None = None
    weight_map: Mapping[str, str] = field(default_factory=dict)
    """The file of each tensor, as the index says."""
    problem: Qwen7bError | None = None
    """Why this way cannot be gone, where that is known before any weights are opened."""
    remark: str = ""
    """What a user should know where this way is taken."""

    @property
    def name(self) -> str:
        return self.index.name if self.index else self.files[0].name


def open_weights(folder: Path, *, report: Report = fail) -> dict[str, StoredTensor]:
    """Tensors by name of a checkpoint folder.

    Where no way to read it gives whole files, `report` is told of the missing and damaged ones of the first, and the
    tensors of the others are returned.
    """
    ways = list(_ways(folder))
    if not ways:
        found = ", ".join(folder_names(folder)[:8]) or "nothing"
        raise CheckpointError(
            f"{folder} holds no weights: model.safetensors or pytorch_model.bin (or their .index.json) should be "
            f"there, found {found:.300}"
        )
    problem: Qwen7bError | None = None
    for way in ways:
        try:
            tensors = _open(folder, way, fail)
        except Qwen7bError as error:
            problem = problem or error
            continue
        if problem:
            _warn(f"{folder} is read by {way.name}, as {ways[0].name} cannot be read: {problem}")
        elif way.remark:
            _warn(way.remark)
        return _unwrapped(folder, tensors)
    return _open(folder, ways[0], report)


def has_weights(folder: Path) -> bool:
    """Whether a folder has files that might hold a model's weights, GGUF files aside."""
    return any(_is_weights(name) or _INDEX.fullmatch(name) for name in folder_names(folder))


def numbered_shards(folder: Path) -> tuple[Path, ...]:
    """The shards whose names say "1 of 2" and so on, in order; empty where one is missing."""
    return next((way.files for way in _numbered(folder) if not way.missing), ())


def _ways(folder: Path) -> Iterator[Way]:
    """The ways to read a folder, the likeliest first."""
    names = sorted(folder_names(folder), key=lambda name: (not is_safetensors(name), name))
    indices = {match["whole"]: folder / name for name in reversed(names) if (match := _INDEX.fullmatch(name))}
    wholes = [name for name in names if _is_weights(name) and not _NUMBERED.fullmatch(name)]
    usual = [name for name in wholes if _USUAL.fullmatch(name) or name in indices]
    for name in dict.fromkeys([*usual, *indices]):
        yield from _by_name(folder, name, indices.get(name), is_there=name in usual)
    numbered = _numbered(folder)
    yield from (way for way in numbered if not way.missing)
    for suffix in WEIGHTS:
        if files := [folder / name for name in wholes if name.lower().endswith(suffix) and name not in usual]:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            yield Way(
                files=tuple(files),
                remark=f"{files[0]}{more} are no usual names of weights: they are taken for that, as nothing else is",
            )
    yield from (way for way in numbered if way.missing)


def _by_name(folder: Path, name: str, index: Path | None, *, is_there: bool) -> Iterator[Way]:
    """The ways that a whole file of this name and the index of its shards offer, the one that says more first."""
    if index is None:
        yield Way(files=(folder / name,))
        return
    try:
        weight_map = _weight_map(index)
    except Qwen7bError as error:
        yield from [Way(files=(folder / name,))] * is_there
        yield Way(files=(), index=index, problem=error)
        return
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if Path(shard).name != shard or not os.path.isfile(folder / shard)]
    by_index = Way(
        files=tuple(folder / shard for shard in shards if shard not in missing),
        missing=tuple(missing),
        index=index,
        weight_map=weight_map,
    )
    if not is_there or shards == [name]:
        yield by_index
        return
    remark = f"{folder / name} is read, and not the shards that {index.name} beside it names: remove what is outdated"
    whole = Way(files=(folder / name,), remark=remark)
    try:
        names = open_weight_file(folder / name).keys()
    except Qwen7bError:
        yield from (by_index, whole)
        return
    if weight_map.keys() <= names or len(missing) == len(shards):
        yield from (whole, by_index)
    elif names < weight_map.keys():  # what trainers that share a model among GPUs leave beside it
        yield by_index
    else:
        yield from (by_index, whole)


def _numbered(folder: Path) -> list[Way]:
    """Sets of files whose names say "1 of 2" and so on, by what else their names say."""
    sets: dict[tuple[str, str], dict[int, str]] = {}
    for name in folder_names(folder):
        if _is_weights(name) and (match := _NUMBERED.fullmatch(name)):
            sets.setdefault((match["before"], match["of"]), {})[int(match["number"])] = name
    ways = []
    for (before, of), found in sorted(sets.items(), key=lambda each: (not is_safetensors(each[0][1]), each)):
        match = _NUMBERED.fullmatch(next(iter(found.values())))
        assert match
        first = 0 if 0 in found else 1
        numbers = range(first, int(match["total"]) + first)
        missing = [f"{before}{number:0{len(match['number'])}}{of}" for number in numbers if number not in found]
        remark = (
            f"{folder} has no index that says what its shards hold, without which other programs fail: "
            f"'qwen7b doctor {shlex.quote(str(folder))} --fix NEW_FOLDER' writes it"
        )
        files = tuple(folder / found[number] for number in sorted(found))
        ways.append(Way(files=files, missing=tuple(missing), remark=remark))
    return ways


def _open(folder: Path, way: Way, report: Report) -> dict[str, StoredTensor]:
    if way.problem:
        raise way.problem
    if way.missing:
        report(
            CheckpointError(
                f"{folder} lacks {len(way.missing)} of {counted(len(way.files) + len(way.missing), 'shard')} "
                f"({', '.join(way.missing):.200}): download them again"
            )
        )
    opened: dict[str, dict[str, StoredTensor]] = {}
    for file in way.files:
        try:
            opened[file.name] = open_weight_file(file)
        except Qwen7bError as error:
            report(error)
    if way.index is None:
        return _joined(folder, opened)
    absent = [name for name, shard in way.weight_map.items() if shard in opened and name not in opened[shard]]
    if absent:
        report(
            CheckpointError(
                f"{way.weight_map[absent[0]]} lacks tensor {absent[0]!r:.200}, which {way.index.name} places there: "
                "download it again"
            )
        )
    places = way.weight_map.items()
    return {name: opened[shard][name] for name, shard in places if shard in opened and name in opened[shard]}


def _joined(folder: Path, opened: Mapping[str, Mapping[str, StoredTensor]]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for found in opened.values():
        if twice := tensors.keys() & found.keys():
            raise CheckpointError(
                f"{folder} holds several files with a tensor {min(twice)!r:.100} ({', '.join(opened):.200}): they are "
                "several models, or one that was cut across GPUs, so leave only the files of one model there"
            )
        tensors |= found
    return tensors


def _unwrapped(folder: Path, tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Without the names of what held the model when it was saved, where all tensors have them."""
    for wrapper in _WRAPPERS:
        names = tuple(wrapper + name for name in _WRAPPED)
        if tensors and all(name.startswith(names) for name in tensors):
            _warn(f"all tensors of {folder} have names that begin with {wrapper!r}: they are read without that")
            return _unwrapped(folder, {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()})
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    try:
        return {str(name): str(shard) for name, shard in read_json(index)["weight_map"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: it has no weight_map of shard files; download it again") from error


def _is_weights(name: str) -> bool:
    return is_weights(name) and not _NO_MODEL.match(name)


def _warn(remark: str) -> None:
    warnings.warn(remark, stacklevel=4)


def open_weight_file(path: Path) -> dict[str, StoredTensor]:
    """Tensors by name of one safetensors or pickled file."""
    return open_safetensors(path) if is_safetensors(path.name) else open_pickle(path)
