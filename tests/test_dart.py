"""DART: linearisation, the official scorer's entries, and the counts of the release in both of its forms."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from featherbench.tasks import TASKS
from featherbench.tasks.base import Example
from featherbench.tasks.dart import json_entries, linearise, read, xml_entries
from featherbench.tasks.files import DataError
from featherbench.tasks.load import _loaded, content_sha256, load
from featherbench.tasks.metrics.bleu import DART_BLEU, DART_BLEU_LOWER_SPLIT
from featherbench.tasks.metrics.dart_text import lower_split

TRIPLES = [["[TABLECONTEXT]", "[TITLE]", "Café"], ["Café", "NO._OF_CHANNELS", "1 "]]


def entry(*texts: str, triples: Any = TRIPLES, origin: str = "webnlg") -> dict[str, Any]:
    return {"tripleset": triples, "annotations": [{"source": origin, "text": text} for text in texts]}


def as_json(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "train.json"
    path.write_bytes(json.dumps(list(entries), indent=2, ensure_ascii=False).replace("\n", "\r\n").encode())
    return path


def test_triples_are_joined_by_bars_and_relations_are_in_lower_case() -> None:
    source = linearise([(s, r, o) for s, r, o in TRIPLES])
    assert source == "[TABLECONTEXT] : [title] : Café | Café : no._of_channels : 1"


def test_one_source_is_one_item_in_training_and_two_in_test(tmp_path: Path) -> None:
    path = as_json(
        tmp_path, entry("one", ""), entry("two", "one", origin="e2e"), entry("&amp;\r\nx", triples=TRIPLES[:1])
    )
    both, first = linearise(map(tuple, TRIPLES)), "[TABLECONTEXT] : [title] : Café"  # type: ignore[arg-type]
    last = Example(source=first, references=("&amp; x",), tags={"origin": "webnlg"})
    for split in ("train", "validation"):
        assert read([path], split) == [
            Example(source=both, references=("one", "two", "one"), tags={"origin": "webnlg"}),
            last,
        ]
    assert read([path], "test") == [
        Example(source=both, references=("one",), tags={"origin": "webnlg"}),
        Example(source=both, references=("two", "one"), tags={"origin": "e2e"}),
        last,
    ]


def test_damage_is_named_with_file_and_entry(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.json, entry 2: ValueError"):
        list(json_entries(as_json(tmp_path, entry("one"), entry("two", triples=[["a", "b"]]))))
    (tmp_path / "train.json").write_text("[{")
    with pytest.raises(ValueError, match=r"train\.json is no JSON"):
        list(json_entries(tmp_path / "train.json"))
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(ValueError, match=r"should be a list of entries"):
        list(json_entries(tmp_path / "train.json"))
    (tmp_path / "a.xml").write_text(
        "<entries><entry><modifiedtripleset><mtriple>a | b</mtriple></modifiedtripleset></entry></entries>"
    )
    with pytest.raises(ValueError, match=r"a\.xml, entry 1: expected subject \| relation \| object"):
        list(xml_entries(tmp_path / "a.xml"))


def test_without_the_official_training_file_dart_says_where_it_is(tmp_path: Path, monkeypatch: Any) -> None:
    """And never trains on anything else under that name."""
    monkeypatch.setenv("FEATHERBENCH_DATA", str(tmp_path))
    _loaded.cache_clear()
    with pytest.raises(DataError, match=r"dart-v1\.1\.1-full-train\.json is missing .*Yale-LILY/dart/raw"):
        load("dart", "train")


def test_the_content_of_a_training_file_without_a_stated_sha256_is_known(
    tmp_path: Path, monkeypatch: Any, real_data: Path
) -> None:
    """So that two different files never give trials of one id."""
    found = []
    for text in ("one", "two"):
        folder = tmp_path / text
        (folder / "dart").mkdir(parents=True)
        as_json(folder, entry(text)).rename(folder / "dart" / "dart-v1.1.1-full-train.json")
        for path in (real_data / "dart").glob("dart-v1.1.1-full-*.gz"):
            (folder / "dart" / path.name).symlink_to(path)
        monkeypatch.setenv("FEATHERBENCH_DATA", str(folder))
        _loaded.cache_clear()
        assert load("dart", "train")[0].references == (text,)
        found.append(content_sha256("dart"))
    _loaded.cache_clear()
    assert len(set(found)) == 2 and None not in found
    assert content_sha256("dart.webnlg_part") is None


# Triple sets and annotations of the release, from the README.md of the data sets.
RELEASE = {
    "dart-train.webnlg-part.derived.json": (6940, 18102),
    "dart-v1.1.1-full-dev.json": (2768, 6980),
    "dart-v1.1.1-full-dev.xml": (2768, 6980),
    "dart-v1.1.1-full-test.derived.json": (5097, 12552),
    "dart-v1.1.1-full-test.xml": (5097, 12552),
}


@pytest.fixture(scope="module")
def release(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    folder = tmp_path_factory.mktemp("dart")
    found = {}
    for name in RELEASE:
        (folder / name).write_bytes(gzip.decompress((real_data / "dart" / f"{name}.gz").read_bytes()))
        found[name] = list((json_entries if name.endswith("json") else xml_entries)(folder / name))
    return found


@pytest.mark.parametrize("name", RELEASE)
def test_the_release_has_its_triple_sets_and_annotations(name: str, release: dict[str, list[Any]]) -> None:
    assert (len(release[name]), sum(len(texts) for _, texts in release[name])) == RELEASE[name]


def test_both_forms_of_the_release_hold_the_same(release: dict[str, list[Any]]) -> None:
    assert release["dart-v1.1.1-full-dev.json"] == release["dart-v1.1.1-full-dev.xml"]
    assert release["dart-v1.1.1-full-test.derived.json"] == release["dart-v1.1.1-full-test.xml"]


def test_annotations_have_the_origins_of_the_release(release: dict[str, list[Any]]) -> None:
    dev, test = (
        Counter(origin for _, texts in release[f"dart-v1.1.1-full-{name}.xml"] for origin, _ in texts)
        for name in ("dev", "test")
    )
    names = (
        "webnlg",
        "e2e",
        "WikiSQL_decl_sents",
        "WikiTableQuestions_lily",
        "WikiTableQuestions_mturk",
        "WikiSQL_lily",
    )
    assert [dev[n] for n in names] == [2268, 4290, 250, 106, 39, 27]
    assert [test[n] for n in names] == [7361, 4690, 346, 96, 34, 25]


# Items, distinct sources and references; the test file has one empty annotation.
ITEMS = {"train": (6892, 6892, 18102), "validation": (2721, 2721, 6980), "test": (5097, 4159, 12551)}


@pytest.mark.parametrize("split", ITEMS)
def test_items_distinct_sources_and_references_are_counted(split: str, real_data: Path) -> None:
    found = list(load("dart.webnlg_part", split))
    assert (len(found), len({e.source for e in found}), sum(len(e.references) for e in found)) == ITEMS[split]


# The first reference of some entries as it stands in Yale-LILY/dart, evaluation/dart_reference/all-delex-reference0.lex
OFFICIAL_LINES = {
    1: "in 1982 , jed jenkins in american playhouse was played by jeff daniels .",
    7: "the date for the tournament mcdonald ' s wpga championship is 9 aug 1998 .",
    22: "on august 31 , 2008 , sevilla fc won a superleague formula race , and gta motor competición was the winning team .",
    49: "mandy patinkin played detective samuel ' george ' francisco in the 1988 movie alien nation .",
    180: "the ncbi accession number of the homo sapiens species is nm_014157 . 3 / np_054876 . 2 .",
}


def test_lower_cased_and_split_the_references_are_the_lines_of_the_official_files(real_data: Path) -> None:
    examples = load("dart.webnlg_part", "test")
    assert {i: lower_split(examples[i].references[0]) for i in OFFICIAL_LINES} == OFFICIAL_LINES


def test_every_score_says_on_which_text_it_is_taken() -> None:
    """Plain text, which no published figure is on, or the form of the official files: then case and blanks are level."""
    scores = [s for s in TASKS["dart"].scores if s.name != "bertscore" or find_spec("bert_score")]  # it is optional
    signatures = {score.name: score.signature([["a"]]) for score in scores}
    assert "text:dart-lower-split" in signatures.pop("bleu_lower_split")
    assert len(signatures) >= 5 and all("text:raw(official:lower,split)" in text for text in signatures.values())
    plain, split = ("Joe's café, in Rome, is dear.", "joe ' s café , in rome , is dear .")
    assert DART_BLEU_LOWER_SPLIT.corpus([plain], [[split]]) == pytest.approx(100)
    assert DART_BLEU.corpus([plain], [[split]]) == 0


def test_all_5097_entries_are_scored_on_their_first_three_references(real_data: Path) -> None:
    """Which references those are was compared with Yale-LILY/dart, evaluation/dart_reference: same lines, same order."""
    task = TASKS["dart.webnlg_part"]
    references = [e.references for e in load(task.name, "test")]
    for score in (s for s in task.scores if s.name in ("bleu", "meteor", "ter")):  # the others read fewer
        assert "5097" in score.signature(references) and str(
            sum(min(3, len(r)) for r in references)
        ) in score.signature(references)
    assert references[-1] == (
        "Close to The Sorrento you will be able to find a pub called Zizzi",
        "There is a pub  called Zizzi located near The Sorrento.",
    )
    fourth = [(*r[:3], "no such text") for r in references]
    predictions = [r[0] for r in references]
    assert task.scores[0].corpus(predictions, references) == task.scores[0].corpus(predictions, fourth)
