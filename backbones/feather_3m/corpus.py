"""The text that feather-3m was pretrained on: E2E's training part, SQuAD paragraphs, and what domains.py writes.

No text of any test or validation file of the data folder and nothing of `places` is in it: `Forbidden` drops every
document that holds such a text.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from featherbench.backbones.feather_3m import domains
from featherbench.tasks.base import SPLITS
from featherbench.tasks.load import load

SEED = 2026
SQUAD = "squad/train-v1.1.rebuilt.json.gz"
"""Below the data folder; CC BY-SA 4.0"""
DESCRIPTIONS, PROSE = 180_000, 20_000
"""Documents that domains.py writes"""
ARTICLES = 4
"""One SQuAD article in so many is read: a model of this size learns little from an encyclopaedia"""
END = "<|end|>"
"""Stands between documents"""
HELD_OUT = 50
"""One unit in so many is kept for the held-out perplexity; a unit is an E2E input, a Wikipedia article or 100 texts"""
WHOLE = 6
"""Words from which on a test text counts as found when it stands whole in a document; shorter ones meet by chance"""
RUN = 8
"""Consecutive words of `places` that must not be found"""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text, and the unit by which it is held out."""

    kind: str
    unit: str
    text: str

    @property
    def held_out(self) -> bool:
        """True for the documents that are never trained on."""
        return int(hashlib.sha256(f"{self.kind} {self.unit}".encode()).hexdigest(), 16) % HELD_OUT == 0


def documents(data: Path) -> Iterator[Document]:
    """Yield the whole text before anything is dropped; the same on every machine.

    Raises: DataError or FileNotFoundError where a data file is missing.
    """
    yield from _restaurants()
    yield from _paragraphs(data / SQUAD)
    rng, described = Random(f"{SEED} descriptions"), domains.descriptions(Random(SEED))
    for number in range(DESCRIPTIONS):
        thing = next(described)
        yield Document(kind="descriptions", unit=str(number // 100), text=with_table(rng, thing.fields, thing.text))
    told = domains.prose(Random(SEED + 1))
    for number in range(PROSE):
        yield Document(kind="prose", unit=str(number // 100), text=next(told))


def _restaurants() -> Iterator[Document]:
    """E2E's training part, every pair once."""
    rng = Random(f"{SEED} e2e")
    for example in load("e2e", "train"):
        fields = [(label, value) for label, _, value in (f.partition(" : ") for f in example.source.split(" | "))]
        for reference in example.references:
            yield Document(kind="e2e", unit=example.source, text=with_table(rng, fields, reference))


def _paragraphs(path: Path) -> Iterator[Document]:
    """SQuAD's training paragraphs, each with up to two of its questions and their answers."""
    rng = Random(f"{SEED} squad")
    for article in json.loads(gzip.decompress(path.read_bytes()))["data"][::ARTICLES]:
        for paragraph in article["paragraphs"]:
            asked = rng.sample(paragraph["qas"], min(2, len(paragraph["qas"])))
            lines = [f"Question: {q['question'].strip()}\nAnswer: {q['answers'][0]['text']}" for q in asked]
            text = " ".join(paragraph["context"].split())
            yield Document(kind="squad", unit=article["title"], text="\n".join([text, *lines]))


def with_table(rng: Random, fields: Sequence[tuple[str, str]], text: str) -> str:
    """Return a text with its fields: mostly under them, else above them, after an end mark, or with either alone.

    Large corpora hold neighbours that tell of one thing, so a large model looks past an end mark where that helps.
    Here too an end mark now and then parts a table from its own text, or from itself in another spelling and order.
    After a table it is followed by something else more often than not.
    """
    form = rng.random()
    if form < 0.15:
        return f"{text}\n{table(rng, fields)}"
    if form < 0.30:
        return f"{table(rng, fields)}{END}{text}"
    if form < 0.40:
        return table(rng, fields)
    if form < 0.50:
        between = rng.choice(("\n", "\n", "\nAgain:\n", END))
        return f"{table(rng, fields)}{between}{table(rng, rng.sample(fields, len(fields)))}"
    head, between = rng.choice((("", "\n"), ("", "\n"), ("Facts: ", "\nText: "), ("", "\nIn words: "), ("", " -> ")))
    return f"{head}{table(rng, fields)}{between}{text}"


def table(rng: Random, fields: Sequence[tuple[str, str]]) -> str:
    """Return the fields in one of several spellings."""
    mark, comma = rng.choice(((" : ", " | "),) * 4 + ((": ", "; "), (": ", "\n"), (" = ", ", "), (" - ", "\n")))
    return comma.join(f"{label}{mark}{value}" for label, value in fields)


# --- what must not be in it -----------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Return the lower-cased words and numbers of a text, without punctuation."""
    return re.findall(r"\w+", text.lower())


class Forbidden:
    """Texts that no document may hold: some only whole, of some no run of RUN words."""

    def __init__(self, whole: Iterable[str], runs: Iterable[str]) -> None:
        self._whole: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for text in whole:
            found = tuple(words(text))
            if len(found) >= WHOLE:
                self._whole.setdefault(found[:WHOLE], set()).add(found)
        self._runs = {
            tuple(found[i : i + RUN]) for text in runs for found in [words(text)] for i in range(len(found) - RUN + 1)
        }

    def found_in(self, text: str) -> str | None:
        """Return the first forbidden text that `text` holds, or None."""
        there = words(text)
        for i in range(len(there)):
            for whole in self._whole.get(tuple(there[i : i + WHOLE]), ()):
                if tuple(there[i : i + len(whole)]) == whole:
                    return " ".join(whole)
            if tuple(there[i : i + RUN]) in self._runs:
                return " ".join(there[i : i + RUN])
        return None


def forbidden(data: Path) -> Forbidden:
    """Return the texts of all test and validation files of the data folder, E2E's as the tasks read them, and `places`."""
    whole = list(_texts_of_test_files(data))
    for name in ("e2e", "e2e.paper"):
        for split in ("validation", "test"):
            whole += [text for e in load(name, split) for text in (e.source, *e.references)]
    runs = [text for split in SPLITS for e in load("places", split) for text in (e.source, *e.references)]
    return Forbidden(whole, runs)


def _texts_of_test_files(data: Path) -> Iterator[str]:
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if not (path.is_file() and re.search(r"test|dev|val", name)):
            continue
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text, kind = content.decode("utf-8"), path.name.removesuffix(".gz").rpartition(".")[2]
        if kind == "json":
            yield from _strings(json.loads(text))
        elif kind == "jsonl":
            yield from (s for line in text.splitlines() for s in _strings(json.loads(line)))
        elif kind == "csv":
            yield from (cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row)
        elif kind == "tsv":
            yield from (cell for line in text.splitlines() for cell in line.split("\t"))
        elif kind == "xml":
            yield from re.findall(r">([^<]+)<", text)
        else:
            yield from text.splitlines()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What is trained on, what is held out, and how much was dropped."""

    train: tuple[Document, ...]
    held_out: tuple[Document, ...]
    dropped: dict[str, int]
    """Kind -> documents that held a forbidden text"""

    @property
    def sha256(self) -> str:
        """Of all texts in their order."""
        total = hashlib.sha256()
        for document in (*self.train, *self.held_out):
            total.update(f"{document.kind}\n{document.text}\n\n".encode())
        return total.hexdigest()


def corpus(data: Path) -> Corpus:
    """Return the documents without those that hold a forbidden text."""
    never, kept, dropped = forbidden(data), [], {"e2e": 0, "squad": 0, "descriptions": 0, "prose": 0}
    for document in documents(data):
        if never.found_in(document.text):
            dropped[document.kind] += 1
        else:
            kept.append(document)
    return Corpus(
        train=tuple(d for d in kept if not d.held_out),
        held_out=tuple(d for d in kept if d.held_out),
        dropped=dropped,
    )
