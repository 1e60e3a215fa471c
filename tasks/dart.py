"""DART v1.1.1: triple sets of six origins -> a text (Nan et al. 2021, arXiv:2007.02871).

A source is `subject : relation : object` for each triple, joined by ` | `, relations in lower case, as in Li & Liang
2021's code. Every annotation is a reference; the one empty annotation of the test file is none.

The official scorer has 5,097 test entries and the first three references of each. Only 4,159 of them are distinct: it
counts the 891 WebNLG inputs of unseen categories twice, and 47 triple sets as two entries with other texts. So the
test split keeps the entries apart (equal sources are decoded once), while training and validation are one item a
distinct source.

`dart` needs the official training file. `dart.webnlg_part` has the same validation and test splits and trains on the
6,940 triple sets that come from WebNLG, of 30,526: its scores are not DART scores.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from featherbench.tasks.base import Example, File, Task, grouped, one_line
from featherbench.tasks.metrics.official import DART_SCORES

_ORIGIN = "https://github.com/Yale-LILY/dart/raw/master/data/v1.1.1"

Triple = tuple[str, str, str]
Entry = tuple[list[Triple], list[tuple[str, str]]]
"""Triples and (origin, text) of the annotations"""


def linearise(triples: Iterable[Triple]) -> str:
    """Turn [("Aarhus", "LEADER", "Jacob"), ...] into "Aarhus : leader : Jacob | ..."."""
    return one_line(" | ".join(f"{subject} : {relation.lower()} : {value}" for subject, relation, value in triples))


def json_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a JSON file of the release.

    Raises: ValueError that names file and entry.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error})") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path} is no DART JSON file: it should be a list of entries")
    for number, entry in enumerate(entries, start=1):
        try:
            triples = [(str(s), str(r), str(o)) for s, r, o in entry["tripleset"]]
            yield triples, [(str(a["source"]), str(a["text"])) for a in entry["annotations"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, entry {number}: {type(error).__name__}: {error}") from error


def xml_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of an XML file of the release.

    Raises: ValueError that names file and entry.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no valid XML: {error}") from error
    for number, entry in enumerate(root.iter("entry"), start=1):
        triples = []
        for triple in entry.iterfind("modifiedtripleset/mtriple"):
            parts = (triple.text or "").split(" | ")
            if len(parts) != 3:
                raise ValueError(f"{path}, entry {number}: expected subject | relation | object, found {triple.text!r}")
            triples.append((parts[0], parts[1], parts[2]))
        yield triples, [(lex.get("comment", ""), lex.text or "") for lex in entry.iterfind("lex")]


def read(paths: Sequence[Path], split: str) -> list[Example]:
    """Read the JSON or XML file of one split."""
    found = []
    for triples, texts in {".json": json_entries, ".xml": xml_entries}[paths[0].suffix](paths[0]):
        kept = [(origin, one_line(text)) for origin, text in texts if text.strip()]
        if kept:
            references = tuple(text for _, text in kept)
            found.append(Example(source=linearise(triples), references=references, tags={"origin": kept[0][0]}))
    return found if split == "test" else grouped(found)


DART = Task(
    name="dart",
    source="Nan et al. 2021, DART v1.1.1, arXiv:2007.02871",
    licence="MIT; its WebNLG part CC BY-NC-SA 4.0, its E2E part CC BY-SA 4.0",
    samples_allowed=True,  # each part with its licence named
    version=1,
    files={
        "train": (
            File(
                path="dart/dart-v1.1.1-full-train.json",
                sha256=None,  # the official file could not be had when this was written
                url=f"{_ORIGIN}/dart-v1.1.1-full-train.json",
            ),
        ),
        "validation": (
            File(
                path="dart/dart-v1.1.1-full-dev.json.gz",
                sha256="56606eac12baa7f0ddb81c61890f9f1a95bace4df8f8989852786358fe5d2b88",
                url=f"{_ORIGIN}/dart-v1.1.1-full-dev.json",
            ),
        ),
        "test": (
            File(
                path="dart/dart-v1.1.1-full-test.xml.gz",
                sha256="4f6994d633030278798c114555549a13202780fe0d78ee2e7ac7dcce45a8e233",
                url=f"{_ORIGIN}/dart-v1.1.1-full-test.xml",
            ),
        ),
    },
    read=read,
    scores=DART_SCORES,
    primary="bleu",
    words="table-to-text:",
    repeated_sources=True,
    overlap=None,
)

DART_WEBNLG_PART = replace(
    DART,
    name="dart.webnlg_part",
    source="the part of DART v1.1.1's training split that comes from WebNLG; validation and test are DART's",
    files={
        **DART.files,
        "train": (
            File(
                path="dart/dart-train.webnlg-part.derived.json.gz",
                sha256="eaa11c4f3aa8b31db071f3caffd28b46658b0f3027b6d1a8e65440635c9b878e",
                mend="It is no release file: it is the WebNLG 2017 training split in DART's layout.",
            ),
        ),
    },
    overlap=24,
)
