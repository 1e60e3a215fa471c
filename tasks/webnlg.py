"""WebNLG Challenge 2017: DBpedia triples -> a text (Gardent et al. 2017, W17-3518).

A source is `| subject : property : object` for each triple of the modified triple set, in its order. Li & Liang 2021
write the bar before the first triple too in training; their test reader tests the number of the *entry* instead of the
triple's, so the first test entry loses all its bars. Here every entry of every split begins with the bar. (The blank
before the bar, which their code doubles, stands once.) Their paper's text describes no leading bar.

Training and validation use the lexicalisations whose comment is "good", as their code does; test keeps all. A test
category is seen if training has it: ten are, five are not. Entries of one triple set are one item in training and
validation; its tags are those of the first.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from featherbench.tasks.base import Example, File, Task, grouped, one_line
from featherbench.tasks.metrics.official import WEBNLG_SCORES

SEEN = frozenset(
    {
        "Airport",
        "Astronaut",
        "Building",
        "City",
        "ComicsCharacter",
        "Food",
        "Monument",
        "SportsTeam",
        "University",
        "WrittenWork",
    }
)
"""The categories of the training split"""


Triple = tuple[str, str, str]
Entry = tuple[str, list[Triple], list[tuple[str, str]]]
"""Category, triples and (comment, text) of the lexicalisations"""


def linearise(triples: Iterable[Triple]) -> str:
    """Turn [("Aarhus", "leader", "Jacob"), ...] into "| Aarhus : leader : Jacob | ..."."""
    return " ".join("| " + " : ".join(triple) for triple in triples)


def json_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a JSON file of the release.

    Raises: ValueError that names file and entry.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no WebNLG JSON file ({type(error).__name__}: {error})") from error
    for number, numbered in enumerate(entries, start=1):
        try:
            (entry,) = numbered.values()
            triples = [(t["subject"], t["property"], t["object"]) for t in entry["modifiedtripleset"]]
            texts = [(str(t["comment"]), str(t["lex"])) for t in entry["lexicalisations"]]
            yield entry["category"], triples, texts
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}, entry {number}: {type(error).__name__}: {error}") from error


def xml_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of an XML file of the official release; they are those of the JSON form.

    Raises: ValueError that names file and entry.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no valid XML: {error}") from error
    for number, entry in enumerate(root.iter("entry"), start=1):
        triples: list[Any] = []
        for triple in entry.iterfind("modifiedtripleset/mtriple"):
            parts = tuple(part.strip() for part in (triple.text or "").split(" | "))
            if len(parts) != 3:
                raise ValueError(f"{path}, entry {number}: expected subject | property | object, found {triple.text!r}")
            triples.append(parts)
        texts = [(lex.get("comment", ""), lex.text or "") for lex in entry.iterfind("lex")]
        yield entry.get("category", ""), triples, texts


def examples(entries: Iterable[Entry], split: str) -> list[Example]:
    """Return the items of a split."""
    found = []
    for category, triples, texts in entries:
        kept = [one_line(text) for comment, text in texts if split == "test" or comment == "good"]
        if any(kept):
            tags = {"category": category, "seen": "seen" if category in SEEN else "unseen"}
            found.append(Example(source=linearise(triples), references=tuple(filter(None, kept)), tags=tags))
    return grouped(found)


def read(paths: Sequence[Path], split: str) -> list[Example]:
    """Read the JSON or XML files of one split."""
    readers = {".json": json_entries, ".xml": xml_entries}
    return examples((entry for path in paths for entry in readers[path.suffix](path)), split)


def _file(name: str, sha256: str) -> tuple[File, ...]:
    origin = "https://github.com/XiangLi1999/PrefixTuning/raw/cleaned/data/webnlg_challenge_2017"
    return (File(path=f"webnlg2017/{name}.json.gz", sha256=sha256, url=f"{origin}/{name}.json"),)


WEBNLG = Task(
    name="webnlg",
    source="Gardent et al. 2017, WebNLG Challenge, W17-3518",
    licence="CC BY-NC-SA 4.0",
    samples_allowed=True,  # with the licence named, for uses that are not commercial
    version=1,
    files={
        "train": _file("train", "180edb6011360608c8548d4551366a9d55f140cbf9bc9397fbf4d97f6a89c639"),
        "validation": _file("dev", "50f5a2c24d760bc84ba3e852707cd3b43b0cf2da035b425f87945a2440880488"),
        "test": _file("test", "2574896b23b5959d1a0cd4bb501ffbeff1a11790a9996c4cb8efed289149ff4f"),
    },
    read=read,
    scores=WEBNLG_SCORES,
    primary="bleu",
    words="table-to-text:",
    overlap=24,
)
