"""Token shards: documents as token ids in files that are mapped, with hashes of data, tokenizer and settings.

    FOLDER/shards.json            what the rest is, and what it was made of
    FOLDER/00000.tokens           ids of documents one after the other, uint16 or uint32, little-endian
    FOLDER/00000.ends             where each document ends in that file, int64: its last id is the end of text

A document lies in one file. The folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qwen7b.errors import CheckpointError, SettingError, counted, quoted
from qwen7b.system.json_file import read_json
from qwen7b.system.storage import is_whole, storage_errors
from qwen7b.text import Tokenizer

FORMAT = "qwen7b token shards 1"
_MAX_FILE_TOKENS = 1 << 28
_INDEX = "shards.json"

Ids: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """One pair of files: its name without suffix, and what it holds."""

    name: str
    num_tokens: int
    num_documents: int
    tokens_sha256: str
    ends_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardIndex:
    """What `shards.json` says."""

    tokenizer_sha256: str
    tokenizer: str
    """Its name, for messages."""
    vocab_size: int
    end_id: int
    """The token that ends every document."""
    id_bytes: int
    """The bytes of an id: 2 or 4."""
    num_tokens: int
    num_documents: int
    num_bytes: int
    """The bytes of the texts in UTF-8, as the tokenizer normalizes them."""
    files: tuple[ShardFile, ...]
    format: str = FORMAT

    @property
    def digest(self) -> str:
        """What tells these shards from all others: a hash of their data, tokenizer and settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """What tells a tokenizer from all that make other ids of some text, whatever file it came from."""
    vocabulary, digest = tokenizer.vocabulary, hashlib.sha256()
    for table in (vocabulary.ids, vocabulary.ranks):
        for token, number in sorted(table.items()):
            digest.update(b"%d:%s%d;" % (len(token), token, number))
        digest.update(b"|")
    settings = [sorted(vocabulary.control_tokens.items()), vocabulary.pattern, vocabulary.nfc]
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()


class ShardWriter:
    """Writes documents into a new folder, which is there, whole, when the context ends without an exception.

    Raises SettingError where the folder is there already, where the tokenizer has no token that ends a text, or where
    there was no document; ResourceError where the disk is full.
    """

    def __init__(self, folder: Path, *, tokenizer: Tokenizer, max_file_tokens: int = _MAX_FILE_TOKENS) -> None:
        if (end_id := tokenizer.end_of_text_id) is None:
            raise SettingError(f"{tokenizer.vocabulary.source} has no <|endoftext|>, which must end every document")
        if folder.exists():
            raise SettingError(f"{folder} is there already: choose another folder, or remove it")
        self.folder, self.tokenizer, self.end_id, self.max_file_tokens = folder, tokenizer, end_id, max_file_tokens
        self._dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
        ids = range(tokenizer.vocab_size)
        self._sizes = np.array([len(tokenizer.token_bytes(id)) if tokenizer.is_token(id) else 0 for id in ids])
        self._partial = folder.with_name(folder.name + ".partial")
        self._files: list[ShardFile] = []
        self._writer: _FileWriter | None = None
        self._num_bytes = 0

    def __enter__(self) -> Self:
        with storage_errors(self.folder.parent, variable=None):
            if self._partial.exists():
                shutil.rmtree(self._partial)  # of a process that was stopped
            self._partial.mkdir(parents=True)
        return self

    def add(self, ids: Sequence[int]) -> None:
        """Add a document, as the ids of its text without an end."""
        with storage_errors(self.folder.parent, variable=None):
            if self._writer is None or self._writer.num_tokens + len(ids) >= self.max_file_tokens:
                self._finish_file()
                self._writer = _FileWriter(self._partial, f"{len(self._files):05}", self._dtype)
            self._writer.add([*ids, self.end_id])
        self._num_bytes += int(self._sizes[list(ids)].sum())

    def _finish_file(self) -> None:
        if self._writer is not None:
            self._files.append(self._writer.finish())

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._writer is not None:
                self._writer.close()
            shutil.rmtree(self._partial, ignore_errors=True)

    def _finish(self) -> None:
        if self._writer is None:
            raise SettingError(f"there is no document for {self.folder}: look at the files that were given")
        with storage_errors(self.folder.parent, variable=None):
            self._finish_file()
            self.index = ShardIndex(
                tokenizer_sha256=tokenizer_digest(self.tokenizer),
                tokenizer=self.tokenizer.vocabulary.source,
                vocab_size=self.tokenizer.vocab_size,
                end_id=self.end_id,
                id_bytes=self._dtype.itemsize,
                num_tokens=sum(file.num_tokens for file in self._files),
                num_documents=sum(file.num_documents for file in self._files),
                num_bytes=self._num_bytes,
                files=tuple(self._files),
            )
            text = json.dumps(asdict(self.index), indent=1, ensure_ascii=False)
            (self._partial / _INDEX).write_text(text, encoding="utf-8")
            os.rename(self._partial, self.folder)


class _FileWriter:
    """Writes one pair of files, and hashes what it writes."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype[Any]) -> None:
        self.name, self.dtype = name, dtype
        self.num_tokens = self.num_documents = 0
        self._tokens, self._ends = ((folder / f"{name}.{kind}").open("wb") for kind in ("tokens", "ends"))
        self._digests = hashlib.sha256(), hashlib.sha256()

    def add(self, ids: Sequence[int]) -> None:
        self.num_tokens += len(ids)
        self.num_documents += 1
        self._put(self._tokens, 0, np.array(ids, dtype=self.dtype).tobytes())
        self._put(self._ends, 1, np.array([self.num_tokens], dtype="<i8").tobytes())

    def _put(self, file: BinaryIO, number: int, data: bytes) -> None:
        file.write(data)
        self._digests[number].update(data)

    def close(self) -> None:
        self._tokens.close()
        self._ends.close()

    def finish(self) -> ShardFile:
        for file in (self._tokens, self._ends):
            file.flush()
            os.fsync(file.fileno())
        self.close()
        tokens, ends = (digest.hexdigest() for digest in self._digests)
        return ShardFile(
            name=self.name,
            num_tokens=self.num_tokens,
            num_documents=self.num_documents,
            tokens_sha256=tokens,
            ends_sha256=ends,
        )


class Shards:
    """The documents of some folders of shards, in order. The files are mapped: what is not read takes no memory."""

    def __init__(self, folders: Sequence[Path], *, tokenizer: Tokenizer) -> None:
        """Raises CheckpointError for damaged shards, SettingError for those of another tokenizer."""
        self.indexes = [read_index(folder) for folder in folders]
        digest = tokenizer_digest(tokenizer)
        self._tokens: list[NDArray[Any]] = []
        lengths: list[Ids] = []
        places: list[Ids] = []
        for folder, index in zip(folders, self.indexes, strict=True):
            if index.tokenizer_sha256 != digest:
                raise SettingError(
                    f"{folder} was made with another tokenizer ({index.tokenizer}, {index.vocab_size:,} tokens) than "
                    f"{tokenizer.vocabulary.source} ({tokenizer.vocab_size:,}): give that one, or make shards anew by "
                    "qwen7b data tokenize"
                )
            for file in index.files:
                tokens, ends = _map_pair(folder, file, id_bytes=index.id_bytes)
                starts = np.concatenate([[0], ends[:-1]])
                lengths.append(ends - starts)
                places.append(np.stack([np.full_like(ends, len(self._tokens)), starts]))
                self._tokens.append(tokens)
        self.lengths: Ids = np.concatenate(lengths)
        """The tokens of each document, its end included."""
        self._places: Ids = np.concatenate(places, axis=1)

    @property
    def num_tokens(self) -> int:
        return sum(index.num_tokens for index in self.indexes)

    @property
    def digest(self) -> str:
        return hashlib.sha256("".join(index.digest for index in self.indexes).encode()).hexdigest()

    def read(self, document: int, start: int, stop: int) -> Ids:
        """The ids of a document from `start` to `stop`."""
        file, first = self._places[:, document]
        ids: Ids = self._tokens[file][first + start : first + stop].astype(np.int64)
        return ids

    def documents(self) -> Iterator[Ids]:
        """The ids of every document, its end included."""
        for number, length in enumerate(self.lengths):
            yield self.read(number, 0, int(length))


def read_index(folder: Path) -> ShardIndex:
    """What a folder of shards says of itself. Raises CheckpointError where it is none, or damaged."""
    if not (folder / _INDEX).exists():
        raise CheckpointError(f"{folder} has no {_INDEX}: make shards by qwen7b data tokenize FILES --out {folder}")
    fields = read_json(folder / _INDEX)
    if fields.get("format") != FORMAT:
        raise CheckpointError(f"{folder} has shards of the format {quoted(fields.get('format'))}: make them anew")
    try:
        files = tuple(ShardFile(**file) for file in fields.pop("files"))
        return ShardIndex(**fields, files=files)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / _INDEX} is damaged ({error}): make the shards anew") from None


def _map_pair(folder: Path, file: ShardFile, *, id_bytes: int) -> tuple[NDArray[Any], Ids]:
    """The ids of a file, mapped, and the ends of its documents."""
    sizes = {"tokens": file.num_tokens * id_bytes, "ends": file.num_documents * 8}
    for kind, sha256 in (("tokens", file.tokens_sha256), ("ends", file.ends_sha256)):
        path = folder / f"{file.name}.{kind}"
        if not is_whole(path, size=sizes[kind], sha256=sha256):
            raise CheckpointError(
                f"{path} is not what was written there ({counted(sizes[kind], 'byte')} of another hash): make the "
                "shards anew"
            )
    tokens = np.memmap(folder / f"{file.name}.tokens", dtype=f"<u{id_bytes}", mode="r")
    return tokens, np.fromfile(folder / f"{file.name}.ends", dtype="<i8").astype(np.int64)
