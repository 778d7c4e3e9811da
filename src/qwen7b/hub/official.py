"""The first-generation checkpoints that Qwen released: their names on both hubs, licences and sizes."""

from __future__ import annotations

from dataclasses import dataclass

ORGANIZATION = "Qwen"
_LICENCE, _RESEARCH_LICENCE = "Tongyi Qianwen", "Tongyi Qianwen Research"


@dataclass(frozen=True, kw_only=True, slots=True)
class OfficialModel:
    """An official checkpoint. Sizes are in bytes, rounded to tenths of a gigabyte."""

    name: str
    licence: str
    size: int
    """The size of its weights on the hubs, in bytes."""
    q8_bytes: int
    """The memory that its weights take as q8, in bytes."""
    q4_bytes: int

    @property
    def repository(self) -> str:
        return f"{ORGANIZATION}/{self.name}"

    @property
    def title(self) -> str:
        kind = "GPTQ, " if "Int" in self.name else ""
        return f"{kind}as q8 in {self.q8_bytes / 1e9:.1f} GB of memory, as q4 in {self.q4_bytes / 1e9:.1f} GB"

    def __str__(self) -> str:
        """The size, licence and memory needs.

        >>> str(OFFICIAL_MODELS["Qwen-7B-Chat"])
        '15.4 GB, Tongyi Qianwen licence, as q8 in 8.0 GB of memory, as q4 in 4.7 GB'
        """
        return f"{self.size / 1e9:.1f} GB, {self.licence} licence, {self.title}"


def _models_of_size(
    size_name: str, licence: str, *, bf16: float, int8: float, int4: float, q8: float, q4: float
) -> list[OfficialModel]:
    """The base model and its chat versions; sizes are in gigabytes."""
    sizes = {"": bf16, "-Chat": bf16, "-Chat-Int8": int8, "-Chat-Int4": int4}
    return [
        OfficialModel(
            name=f"Qwen-{size_name}{suffix}",
            licence=licence,
            size=round(size * 1e9),
            q8_bytes=round(q8 * 1e9),
            q4_bytes=round(q4 * 1e9),
        )
        for suffix, size in sizes.items()
    ]


OFFICIAL_MODELS = {
    model.name: model
    for model in (
        *_models_of_size("1_8B", _RESEARCH_LICENCE, bf16=3.7, int8=2.5, int4=1.9, q8=1.9, q4=1.3),
        *_models_of_size("7B", _LICENCE, bf16=15.4, int8=9.1, int4=5.9, q8=8.0, q4=4.7),
        *_models_of_size("14B", _LICENCE, bf16=28.3, int8=16.0, int4=9.7, q8=14.6, q4=8.3),
        *_models_of_size("72B", _LICENCE, bf16=144.6, int8=76.1, int4=41.2, q8=74.5, q4=39.7),
    )
}
_BY_LOWER_NAME = {model.name.lower(): model for model in OFFICIAL_MODELS.values()}


def find_official(name: str) -> OfficialModel | None:
    """The official checkpoint of that name, with or without its organization, in any case, with "1.8B" or "1_8B".

    >>> find_official("qwen/qwen-1.8b-chat").repository
    'Qwen/Qwen-1_8B-Chat'
    """
    organization, _, base_name = name.lower().rpartition("/")
    return _BY_LOWER_NAME.get(base_name.replace(".", "_")) if organization in ("", ORGANIZATION.lower()) else None
