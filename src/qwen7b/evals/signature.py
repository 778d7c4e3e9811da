"""The signature of a score: everything that it depends on, so that two scores can be told alike or apart."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qwen7b import kernels
from qwen7b.errors import PromptError
from qwen7b.files.checksums import content_digest, tensors_digest
from qwen7b.generate import Qwen
from qwen7b.model import Transformer
from qwen7b.system.regular_file import read_whole
from qwen7b.tasks.item import Calls, Item, Text
from qwen7b.tasks.procedure import TaskPlan
from qwen7b.tasks.table_files import MAX_BYTES
from qwen7b.tasks.task import Task

_PACKAGES = ("qwen7b", "torch")
"""Those whose version every signature names; a task adds its own."""


def signature(qwen: Qwen, task: Task, plan: TaskPlan, items: Sequence[Item], *, folder: Path) -> dict[str, Any]:
    """What the outputs for these items depend on, as JSON values. Hashes are the first half of SHA-256."""
    model, wanted = qwen.model, task.wanted(plan)
    draws = wanted.draws if isinstance(wanted, Text) else None
    calls = wanted if isinstance(wanted, Calls) else None
    return {
        "task": task.name,
        "procedure": str(plan.procedure),
        "split": plan.split,
        "shots": plan.shots,
        "chat": plan.chat,
        "subjects": None if plan.subjects is None else list(plan.subjects),
        "limit": plan.limit,
        "items": len(items),
        "prompts": _hash(item.prompt_hash.encode() for item in items),
        "data": _hash(_contents(task.files(folder, plan))),
        "model": qwen.name,
        "precision": model.precision,
        "weights": weights_digest(model),  # another in each precision
        "device": model.device.type,
        "kernels": kernels.instruction_set() if model.weight_format else None,
        "context_length": qwen.context_length,
        "dialect": None if calls is None else calls.dialect or qwen.dialect.name,
        "constrained": None if calls is None else calls.is_constrained,
        "scored_by": task.scored_by(plan),
        "samples": None if draws is None else draws.samples,
        "temperature": None if draws is None else draws.temperature,
        "top_p": None if draws is None else draws.top_p,
        "seed": task.seed(plan),
        "versions": {name: _version(name) for name in (*_PACKAGES, *task.packages)}
        | {"python": platform.python_version()},
    }


def weights_digest(model: Transformer) -> str:
    """What tells a model's weights from others, wherever their file lies."""
    if model.weights_file is not None and (digest := content_digest(model.weights_file)) is not None:
        return digest[:32]
    return tensors_digest(model.state_dict())[:32]


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:32]


def _contents(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        try:
            yield read_whole(path, limit=MAX_BYTES)
        except OSError as error:
            raise PromptError(f"{path} cannot be read: {error.strerror or error}") from None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # an optional one
        return None
