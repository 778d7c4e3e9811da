"""lm-eval's requests for texts: what its gen_kwargs mean for our engine, and which requests are alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from qwen7b.errors import SettingError, quoted
from qwen7b.generate import Greedy, Sample

_PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
_NARROWING = ("temperature", "top_k", "top_p", "min_p")
"""These change nothing where the likeliest token is taken anyway."""


def generation_settings(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `Qwen.complete` for a request's gen_kwargs, as lm-eval's `normalize_gen_kwargs` completes them.

    A seed that is not given is drawn from torch's generator, which lm-eval seeds. Raises SettingError for a setting
    that the engine does not have.
    """
    given = dict(kwargs)
    stop = [text for text in given.pop("until") if text]
    max_new_tokens, do_sample, seed = given.pop("max_gen_toks"), given.pop("do_sample"), given.pop("seed", None)
    if given.pop("num_beams", 1) != 1:
        raise SettingError(f"num_beams must be 1, found {quoted(kwargs['num_beams'])}: the engine searches no beams")
    if unknown := [name for name in given if name not in (*_PENALTIES, *_NARROWING)]:
        raise SettingError(
            f"gen_kwargs has {unknown[0]}={quoted(given[unknown[0]])}, which this model does not have: it takes until, "
            f"max_gen_toks, do_sample, seed, {', '.join((*_NARROWING, *_PENALTIES))}"
        )
    sampling: Greedy | Sample
    if do_sample:
        sampling = Sample(**given, seed=int(torch.randint(2**31, ())) if seed is None else seed)
    else:
        sampling = Greedy(**{name: value for name, value in given.items() if name in _PENALTIES})
    return {"sampling": sampling, "max_new_tokens": max_new_tokens, "stop": stop}


def alike_requests(
    requests: Sequence[tuple[str, Mapping[str, Any]]],
) -> list[tuple[Mapping[str, Any], list[list[int]]]]:
    """Group requests that can be answered by one call: gen_kwargs, and for each context the indices of its requests.

    All contexts of a group have as many requests: with sampling, each of these is another sample.

    >>> alike_requests([("a", {"until": ["."]}), ("b", {"until": ["."]}), ("a", {})])
    [({'until': ['.']}, [[0], [1]]), ({}, [[2]])]
    """
    kwargs_of = {_key(kwargs): kwargs for _, kwargs in requests}
    by_context: dict[tuple[str, str], list[int]] = {}
    for index, (context, kwargs) in enumerate(requests):
        by_context.setdefault((_key(kwargs), context), []).append(index)
    groups: dict[tuple[str, int], list[list[int]]] = {}
    for (key, _), indices in by_context.items():
        groups.setdefault((key, len(indices)), []).append(indices)
    return [(kwargs_of[key], indices) for (key, _), indices in groups.items()]


def _key(kwargs: Mapping[str, Any]) -> str:
    return json.dumps(kwargs, sort_keys=True, default=str)
