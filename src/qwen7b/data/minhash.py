"""MinHash with locality-sensitive hashing: texts that share most of their n-grams get an equal key in some band.

The sketches are rensa's R-MinHash; the parameters are datatrove's and FineWeb's. Two texts whose sets of n-grams have
the Jaccard similarity s meet in a band with probability 1 - (1 - s^8)^14: 0.92 at 0.8, 0.9996 at 0.9, 0.05 at 0.5. Of
many texts that meet in one, not all pairs are compared (`copies.py`), so that fewer copies are found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen7b.config.checked import positive_fraction, whole_number
from qwen7b.data.shingles import WordRows, mixed, polynomial
from qwen7b.errors import MissingExtraError


@dataclass(frozen=True, kw_only=True, slots=True)
class NearCopySettings:
    """When two texts are near copies of each other."""

    ngram: int = 5
    """Words in a row that are compared, as in datatrove."""
    bands: int = 14
    rows: int = 8
    """Minima that must agree in a band."""
    seed: int = 1
    min_similarity: float = 0.75
    """The Jaccard similarity that is checked on the n-grams themselves; 0.75 is what FineWeb aims at."""

    def __post_init__(self) -> None:
        for name in ("ngram", "bands", "rows"):
            whole_number(name, getattr(self, name), minimum=1, maximum=1000)
        whole_number("seed", self.seed, minimum=0)
        positive_fraction("min_similarity", self.min_similarity)


def band_keys(ngrams: WordRows, settings: NearCopySettings) -> NDArray[np.uint64]:
    """The keys of each row in each band, of shape (rows, bands)."""
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingExtraError("rensa", extra="train") from error
    sketches = RMinHash.digest_matrix_from_flat_token_hashes(
        ngrams.numbers, ngrams.starts.astype(np.uint64), settings.bands * settings.rows, settings.seed
    )
    minima = np.array(sketches.to_rows(), np.uint64).reshape(-1, settings.bands, settings.rows)
    return mixed(polynomial(minima.transpose(2, 0, 1)))
