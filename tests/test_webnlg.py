"""WebNLG 2017: linearisation, which lexicalisations count, and the counts of the release in both of its forms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from featherbench.tasks.base import Example
from featherbench.tasks.load import load
from featherbench.tasks.webnlg import SEEN, examples, json_entries, linearise, read, xml_entries

TRIPLES = [("Café_Ö", "leader", '"A, B"'), ("Café_Ö", "area", "25.0")]


def entry(*texts: tuple[str, str], category: str = "Airport", triples: Any = TRIPLES) -> dict[str, Any]:
    keys = ("subject", "property", "object")
    return {
        "category": category,
        "modifiedtripleset": [dict(zip(keys, t, strict=True)) for t in triples],
        "lexicalisations": [{"comment": comment, "lex": text} for comment, text in texts],
    }


def as_json(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "train.json"
    path.write_text(json.dumps({"entries": [{str(i): e} for i, e in enumerate(entries, 1)]}), encoding="utf-8")
    return path


def test_every_triple_has_a_bar_before_it_also_the_first() -> None:
    assert linearise(TRIPLES) == '| Café_Ö : leader : "A, B" | Café_Ö : area : 25.0'


def test_training_keeps_good_texts_only_and_test_keeps_all(tmp_path: Path) -> None:
    path = as_json(tmp_path, entry(("good", "one"), ("toFix", "two")), entry(("toFix", "x"), triples=TRIPLES[:1]))
    tags = {"category": "Airport", "seen": "seen"}
    both, first = linearise(TRIPLES), linearise(TRIPLES[:1])
    for split in ("train", "validation"):
        assert read([path], split) == [Example(source=both, references=("one",), tags=tags)]
    assert read([path], "test") == [
        Example(source=both, references=("one", "two"), tags=tags),
        Example(source=first, references=("x",), tags=tags),
    ]


def test_entries_of_one_triple_set_are_one_item_with_the_first_ones_tags(tmp_path: Path) -> None:
    path = as_json(tmp_path, entry(("good", "one")), entry(("good", "two"), ("good", "one"), category="City"))
    (item,) = read([path], "train")
    assert item.references == ("one", "two", "one") and item.tags["category"] == "Airport"


def test_a_category_without_training_is_unseen(tmp_path: Path) -> None:
    path = as_json(tmp_path, entry(("good", "one"), category="Politician"))
    assert [e.tags for e in read([path], "test")] == [{"category": "Politician", "seen": "unseen"}]


def test_line_breaks_in_a_text_become_blanks(tmp_path: Path) -> None:
    path = as_json(tmp_path, entry(("good", "one\r\n two\n")))
    assert read([path], "train")[0].references == ("one two",)


XML = """<?xml version='1.0' encoding='utf-8'?>
<benchmark>\r\n<entries>\r
<entry category="Airport" eid="Id1" size="1">
<originaltripleset><otriple>ignored | x | y</otriple></originaltripleset>
<modifiedtripleset><mtriple>Café_Ö | leader | "A &amp; B"</mtriple><mtriple>x | y | z | more</mtriple></modifiedtripleset>
<lex comment="good" lid="Id1">Fish &amp; chips at Café Ö.</lex>
</entry></entries></benchmark>"""


def test_xml_is_read_with_its_escapes(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(XML.replace(" | more", ""), encoding="utf-8")
    (found,) = xml_entries(path)
    assert found == (
        "Airport",
        [("Café_Ö", "leader", '"A & B"'), ("x", "y", "z")],
        [("good", "Fish & chips at Café Ö.")],
    )


def test_damage_is_named_with_file_and_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(XML, encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.xml, entry 1: expected subject \| property \| object"):
        list(xml_entries(path))
    path.write_text(XML[:200], encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.xml is no valid XML"):
        list(xml_entries(path))
    damaged = entry(("good", "one"))
    del damaged["modifiedtripleset"][0]["property"]
    with pytest.raises(ValueError, match=r"train\.json, entry 2: KeyError: 'property'"):
        list(json_entries(as_json(tmp_path, entry(("good", "one")), damaged)))
    (tmp_path / "train.json").write_text('{"entries": [')
    with pytest.raises(ValueError, match=r"train\.json is no WebNLG JSON file"):
        list(json_entries(tmp_path / "train.json"))


# Entries and lexicalisations of the release, and those that are not "good", from the README.md of the data sets.
RELEASE = {"train": (6940, 18102, 77), "dev": (872, 2268, 10), "test": (1862, 4928, 0)}
# Items and references: 5 train entries and 1 of dev have no good text; equal triple sets are one item.
ITEMS = {"train": (6888, 18025), "validation": (870, 2258), "test": (1862, 4928)}


@pytest.fixture(scope="module")
def unpacked(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import gzip

    folder = tmp_path_factory.mktemp("webnlg")
    for split in RELEASE:
        content = gzip.decompress((real_data / "webnlg2017" / f"{split}.json.gz").read_bytes())
        (folder / f"{split}.json").write_bytes(content)
    return {split: folder / f"{split}.json" for split in RELEASE}


@pytest.mark.parametrize("split", RELEASE)
def test_the_release_has_its_entries_and_texts(split: str, unpacked: dict[str, Path]) -> None:
    comments = [comment for _, _, texts in json_entries(unpacked[split]) for comment, _ in texts]
    entries = sum(1 for _ in json_entries(unpacked[split]))
    assert (entries, len(comments), len(comments) - comments.count("good")) == RELEASE[split]


@pytest.mark.parametrize("split", ITEMS)
def test_items_and_references_are_counted(split: str, real_data: Path) -> None:
    found = list(load("webnlg", split))
    assert (len(found), sum(len(e.references) for e in found)) == ITEMS[split]
    assert all(e.source.startswith("| ") for e in found)


def test_seen_categories_are_those_of_training_and_split_the_test_inputs(unpacked: dict[str, Path], real_data: Path):
    assert {category for category, _, _ in json_entries(unpacked["train"])} == SEEN
    test = list(load("webnlg", "test"))
    assert Counter(e.tags["seen"] for e in test) == {"seen": 971, "unseen": 891}
    unseen = {"Artist": 213, "Politician": 209, "MeanOfTransportation": 198, "Athlete": 159, "CelestialBody": 112}
    assert Counter(e.tags["category"] for e in test if e.tags["seen"] == "unseen") == unseen
    references = Counter[str]()
    for e in test:
        references[e.tags["seen"]] += len(e.references)
    assert references == {"seen": 2495, "unseen": 2433}
    assert len({e.tags["category"] for e in test} & SEEN) == 10


@pytest.mark.parametrize("split", RELEASE)
def test_the_official_xml_tree_gives_the_same_examples_as_the_json(
    split: str, unpacked: dict[str, Path], real_data: Path
) -> None:
    folder = real_data / "webnlg2017" / split
    paths = [folder / "testdata_with_lex.xml"] if split == "test" else sorted(folder.glob("*triples/*.xml"))
    from_xml = [e for path in paths for e in xml_entries(path)]
    from_json = list(json_entries(unpacked[split]))

    def counted(entries: list[Any]) -> Counter[str]:
        return Counter(json.dumps(e) for e in entries)

    assert counted(from_xml) == counted(from_json)
    as_split = "validation" if split == "dev" else split
    assert {e.source: sorted(e.references) for e in examples(from_xml, as_split)} == {
        e.source: sorted(e.references) for e in load("webnlg", as_split)
    }


def test_the_unseen_part_of_the_test_split_is_the_file_of_unseen_inputs(real_data: Path) -> None:
    path = real_data / "webnlg2017" / "test" / "testdata_unseen_with_lex.xml"
    unseen = {e.source: e.references for e in load("webnlg", "test") if e.tags["seen"] == "unseen"}
    assert {e.source: e.references for e in examples(xml_entries(path), "test")} == unseen
