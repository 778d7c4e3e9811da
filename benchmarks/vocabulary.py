"""Extends a vocabulary for a language that it is poor in, and shows what that gives on text that it has not seen.

    apt-get download libreoffice-help-el libreoffice-help-en-us libreoffice-help-zh-cn
    for package in *.deb; do dpkg-deb -x $package help; done
    python benchmarks/vocabulary.py help/usr/share/libreoffice/help --language el --script Greek \\
        --vocabulary qwen.tiktoken [--tokens 2000] [--loss demo] [--json]

LibreOffice's help is HTML, a folder a language. Its different lines are split by their hash: nine tenths are the
corpus, the last tenth is held out, so that no line of it has been learned from. The English and Chinese help is kept
(--keep), even its lines with Greek letters, and the ids of all its lines are compared with those before.

With --loss a model gets rows for the new tokens in each way that `extend` knows, and reads held-out text: bits per
byte, which do not depend on the vocabulary. With --steps all its weights are then trained on lines of the corpus, the
same ones whatever the vocabulary, and it reads once more.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import tiktoken
import torch
from html_lines import lines_of_page
from rows import Row, print_rows

import qwen7b
from qwen7b.files.views import InMemory
from qwen7b.model import Transformer
from qwen7b.system.progress import say
from qwen7b.text import Tokenizer
from qwen7b.train.loop import Spikes, take_step
from qwen7b.train.micro_batch import labelled
from qwen7b.train.optimizer_settings import AdamW
from qwen7b.train.optimizers import Optimizers
from qwen7b.train.recipe import Training
from qwen7b.train.schedule import Cosine
from qwen7b.vocab import Extension, extend_vocabulary, named_group
from qwen7b.vocab.extended_vocabulary import extended, parts_of
from qwen7b.vocab.new_rows import new_rows
from qwen7b.vocab.row_initials import Initial

MIN_CHARACTERS = 20
"""Of a line; shorter ones are labels that come on every page."""
WINDOW = 512
LINES_A_STEP = 8
RATE = 3e-4
"""The highest rate of training, which falls to a tenth along a cosine."""


def lines_of(folder: Path) -> list[str]:
    """The different lines of all pages below a folder, in order."""
    lines: dict[str, None] = {}
    for page in sorted(folder.rglob("*.html")):
        lines |= dict.fromkeys(line for line in lines_of_page(page) if len(line) >= MIN_CHARACTERS)
    return list(lines)


def is_held_out(line: str) -> bool:
    return zlib.crc32(line.encode()) % 10 == 0


def reachable_share(extension: Extension) -> float:
    """The share of added tokens that plain tiktoken, built from the ranks alone, encodes as themselves."""
    vocabulary = extension.vocabulary
    encoding = tiktoken.Encoding("all", pat_str=vocabulary.pattern, mergeable_ranks=vocabulary.ranks, special_tokens={})
    added = [learned.token for learned in extension.learned]
    whole = [token for token in added if encoding._encode_single_piece(token) == [vocabulary.ranks[token]]]
    texts = [token for token in whole if is_text(token)]
    alone = [token for token in texts if encoding.encode_ordinary(token.decode()) == [vocabulary.ranks[token]]]
    return (len(whole) - len(texts) + len(alone)) / len(added)


def is_text(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True


@torch.inference_mode()
def bits_per_byte(model: Transformer, tokenizer: Tokenizer, lines: Sequence[str]) -> float:
    """The bits that a model needs for each byte of a text, which it reads in windows that do not overlap."""
    nats, num_bytes = 0.0, 0
    ids = tokenizer.encode("\n".join(lines))
    for start in range(0, len(ids) - 1, WINDOW):
        window = torch.tensor(ids[start : start + WINDOW])
        logits = model(window[None])[0, :-1, : tokenizer.vocab_size].float()
        nats += float(torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum"))
        num_bytes += len(tokenizer.decode_bytes(window[1:].tolist()))
    return nats / num_bytes / math.log(2)


def losses(
    name: str, extension: Extension, corpus: Sequence[str], held_out: Sequence[str], *, steps: int
) -> Iterator[tuple[str, float, int]]:
    """Bits per byte before, and with new rows in each way, after no step of training and after some."""
    for way, model, tokenizer in started_models(name, extension):
        yield way, bits_per_byte(model, tokenizer, held_out), 0
        if steps:
            trained = copy.deepcopy(model)
            train(trained.requires_grad_(True), tokenizer, corpus, steps=steps)
            yield way, bits_per_byte(trained, tokenizer, held_out), steps


def started_models(name: str, extension: Extension) -> Iterator[tuple[str, Transformer, Tokenizer]]:
    """The model with its vocabulary, and with new rows in each way; each is changed into the next."""
    before, added = qwen7b.load_tokenizer(name), [learned.token for learned in extension.learned]
    if before.vocabulary.ids != extension.base.ids:
        raise SystemExit(f"--loss needs a model with the tokens of {extension.base.source}")
    after = Tokenizer(extended(before.vocabulary, added))  # ids begin after the model's own control tokens
    model = qwen7b.load_model(name, dtype=torch.float32, quantize="none")
    yield "the old vocabulary", model, before
    parts = [parts_of(token, before.vocabulary) for token in added]
    first, is_tied = before.vocab_size, model.head.weight is model.embedding.weight
    embedding, head = (module.weight.detach()[:first] for module in (model.embedding, model.head))

    def grown(rows: torch.Tensor, initial: Initial) -> torch.nn.Parameter:
        made = new_rows(InMemory(rows), parts, initial=initial, num_used=first)
        return torch.nn.Parameter(torch.cat((rows, made)))

    model.config = replace(model.config, vocab_rows=after.vocab_size)
    for initial in Initial:
        model.embedding.weight = grown(embedding, initial)
        model.head.weight = model.embedding.weight if is_tied else grown(head, initial)
        yield initial.value, model, after


def train(model: Transformer, tokenizer: Tokenizer, lines: Sequence[str], *, steps: int) -> None:
    """Train on some lines of a corpus, which are the same whatever the vocabulary."""
    settings = Training(
        steps=steps,
        optimizer=AdamW(learning_rate=RATE),
        schedule=Cosine(warmup_steps=min(10, steps)),
        precision="float32",
    )
    optimizers, spikes, chosen = Optimizers(settings.optimizer, model), Spikes(settings.spike_factor), Random(0)
    for step in range(steps):
        ids = [torch.tensor(tokenizer.encode(line)) for line in chosen.sample(lines, LINES_A_STEP)]
        record = take_step(model, optimizers, [labelled(ids, ids)], settings, step=step, spikes=spikes)
        if (step + 1) % 10 == 0:
            say(f"Step {step + 1} of {steps}: loss {record.loss:.3f} a token.")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    lines = {name: lines_of(arguments.help / name) for name in (arguments.language, "en-US", "zh-CN")}
    own = lines.pop(arguments.language)
    held_out = [line for line in own if is_held_out(line)]
    texts = {"corpus": [line for line in own if not is_held_out(line)], "held-out": held_out, **lines}
    tokenizer = qwen7b.load_tokenizer(arguments.vocabulary)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.texts or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in texts.items():
            (folder / f"{name}.txt").write_text("\n".join(content), encoding="utf-8")
        groups = {name: named_group(folder / f"{name}.txt") for name in texts}
        corpus = [groups.pop("corpus")]
        extension = extend_vocabulary(
            tokenizer,
            corpus,
            num_tokens=arguments.tokens,
            min_frequency=arguments.min_frequency,
            scripts=[arguments.script] if arguments.script else [],
            keep=[groups["en-US"], groups["zh-CN"]],
            check=[groups["held-out"]],
        )
    checked = {texts.name: texts for texts in extension.checked}
    seen = checked["held-out"]
    figures: dict[str, float] = {
        "added": len(extension.learned),
        "corpus_mb": round(extension.corpus_bytes / 1e6, 2),
        "seconds": round(extension.seconds, 1),
        "tokens_before": seen.tokens_before,
        "tokens_after": seen.tokens_after,
    }
    yield Row(f"tokens saved on held-out {arguments.language}", round(seen.fewer, 4), ">= 0.25", figures)
    yield Row("added tokens that tiktoken reaches", reachable_share(extension), "= 1", {})
    after = Tokenizer(extension.vocabulary)
    for name in ("en-US", "zh-CN"):
        changed = sum(after.encode(line) != tokenizer.encode(line) for line in lines[name])
        counts: dict[str, float] = {"lines": len(lines[name]), "tokens": checked[name].tokens_before}
        yield Row(f"lines of {name} whose ids changed", changed, "= 0", counts)
    if arguments.loss:
        read = held_out[: arguments.lines]
        for name, bits, steps in losses(arguments.loss, extension, texts["corpus"], read, steps=arguments.steps):
            yield Row(f"bits per byte of held-out text, {name}", round(bits, 4), f"{steps} steps of training", {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("help", type=Path, help="the folder of LibreOffice's help, with a folder a language")
    parser.add_argument("--language", default="el")
    parser.add_argument("--script")
    parser.add_argument("--vocabulary", default="demo")
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--texts", type=Path, metavar="FOLDER", help="keep the texts there, a file each")
    parser.add_argument("--min-frequency", type=int, default=10)
    parser.add_argument("--loss", metavar="MODEL")
    parser.add_argument("--lines", type=int, default=60, help="held-out lines that the model reads")
    parser.add_argument("--steps", type=int, default=0, help=f"of training, each on {LINES_A_STEP} lines of the corpus")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print_rows(measure(arguments), as_json=arguments.json)


if __name__ == "__main__":
    main()
