"""The places task: its committed files, its generator and its reader."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from featherbench.tasks import places_generator
from featherbench.tasks.base import SPLITS, Example
from featherbench.tasks.places import PLACES, read

DATA = Path(places_generator.__file__).parent / "data"
EXAMPLES = {split: list(read([DATA / file.path for file in PLACES.files[split]], split)) for split in SPLITS}
ALL = [example for examples in EXAMPLES.values() for example in examples]
REFERENCES = [reference for example in ALL for reference in example.references]


def fields(example: Example) -> dict[str, str]:
    """Return {label: value} of a linearised source."""
    return dict(pair.split(" : ", 1) for pair in example.source.split(" | "))


def categories(split: str, seen: str) -> Counter[str]:
    """Return how many items of each category that are tagged `seen` the split has."""
    return Counter(e.tags["category"] for e in EXAMPLES[split] if e.tags["seen"] == seen)


# --- files ------------------------------------------------------------------------------------------------------


def test_generating_again_gives_the_committed_bytes(tmp_path):
    places_generator.write(tmp_path)
    for split in SPLITS:
        assert (tmp_path / f"{split}.jsonl").read_bytes() == (DATA / "places" / f"{split}.jsonl").read_bytes()


def test_another_seed_gives_other_items():
    drawn = {seed: [items for _, items in places_generator.splits(seed)][1] for seed in (1, 2)}
    assert not {item["source"] for item in drawn[1]} & {item["source"] for item in drawn[2]}


@pytest.mark.parametrize("split", SPLITS)
def test_the_record_holds_the_digests_of_the_files(split):
    for file in PLACES.files[split]:
        assert hashlib.sha256((DATA / file.path).read_bytes()).hexdigest() == file.sha256


def test_the_files_are_small_enough_to_travel_in_the_package():
    assert sum((DATA / "places" / f"{split}.jsonl").stat().st_size for split in SPLITS) < 2_500_000


# --- splits -----------------------------------------------------------------------------------------------------


def test_the_splits_have_their_sizes():
    assert {split: len(examples) for split, examples in EXAMPLES.items()} == {
        "train": 2000,
        "validation": 200,
        "test": 280,
    }


def test_fourteen_categories_occur_in_the_test_split_only():
    unseen = categories("test", "unseen")
    assert set(unseen.values()) == {10} and len(unseen) == 14
    for split in ("train", "validation"):
        assert not unseen.keys() & categories(split, "seen").keys()
        assert not categories(split, "unseen")


def test_every_seen_category_is_trained_and_tested():
    seen = categories("test", "seen")
    assert set(seen.values()) == {10} and len(seen) == 14
    assert categories("train", "seen").keys() == categories("validation", "seen").keys() == seen.keys()


def test_no_source_and_no_name_occurs_twice():
    assert len({e.source for e in ALL}) == len(ALL)
    assert len({fields(e)["name"] for e in ALL}) == len(ALL)


def test_no_reference_of_one_split_occurs_in_another():
    texts = {split: {r for e in examples for r in e.references} for split, examples in EXAMPLES.items()}
    assert texts["train"].isdisjoint(texts["validation"] | texts["test"])
    assert texts["validation"].isdisjoint(texts["test"])


def test_unseen_categories_share_some_fields_with_seen_ones_and_have_their_own():
    seen = {label for e in EXAMPLES["train"] for label in fields(e)}
    for category in categories("test", "unseen"):
        labels = {label for e in EXAMPLES["test"] if e.tags["category"] == category for label in fields(e)}
        assert labels - seen and (labels & seen) - {"name", "category"}, category


# --- items ------------------------------------------------------------------------------------------------------


def test_a_source_has_three_to_seven_fields_from_name_and_category_on():
    for example in ALL:
        labels = list(fields(example))
        assert labels[:2] == ["name", "category"] and 3 <= len(labels) <= 7
        assert fields(example)["category"] == example.tags["category"]


def test_an_item_has_three_to_five_references_that_differ():
    for example in ALL:
        assert 3 <= len(set(example.references)) == len(example.references) <= 5


def test_references_of_an_item_differ_in_more_than_a_word():
    def word_pairs(text: str) -> set[tuple[str, str]]:
        words = text.split()
        return set(zip(words, words[1:], strict=False))

    shared = []
    for example in ALL:
        first, second, *_ = (word_pairs(reference) for reference in example.references)
        shared.append(len(first & second) / len(first | second))
    assert sum(shared) / len(shared) < 0.5


def test_every_reference_states_every_value_word_for_word():
    stated = [value in reference for e in ALL for value in fields(e).values() for reference in e.references]
    assert all(stated)


def test_sources_and_references_are_short():
    source_words = [len(e.source.split()) for e in ALL]
    reference_words = [len(reference.split()) for reference in REFERENCES]
    assert 15 <= sum(source_words) / len(source_words) <= 30
    assert 15 <= sum(reference_words) / len(reference_words) <= 35
    assert max(reference_words) <= places_generator.MAX_WORDS


# --- language ---------------------------------------------------------------------------------------------------


def test_a_reference_starts_with_a_capital_and_ends_with_one_full_stop():
    for reference in REFERENCES:
        assert reference[0].isupper() and reference.endswith(".") and not reference.endswith(".."), reference


def test_no_reference_has_leftovers_of_the_grammar_or_stray_spaces():
    for reference in REFERENCES:
        assert not re.search(r"  |^ | $| [.,]|[{}<>\[\]~_]", reference), reference


def test_no_word_is_written_twice_in_a_row():
    for reference in REFERENCES:
        assert not re.search(r"\b([a-z]+) \1\b", reference), reference


def test_the_article_suits_the_sound_that_follows():
    for reference in REFERENCES:
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeiouáéíóúAEIOUÁÉÍÓÚh8]", reference), reference


def test_one_of_a_kind_is_singular_and_more_are_plural():
    nouns = "arch|bell|floor|platform|screen|stage|star|tower"
    for reference in REFERENCES:
        assert not re.search(rf"(?<![\d,.])1 (?:{nouns})(?:s|es)\b", reference), reference
        assert not re.search(rf"(?<![\d,.])(?:[2-9]|\d\d+) (?:{nouns})\b", reference), reference


@pytest.mark.parametrize(
    ("phrase", "article"),
    [("lighthouse", "a"), ("island", "an"), ("5-star hotel", "a"), ("8-star hotel", "an"), ("unique hotel", "a")],
)
def test_articles_go_by_sound(phrase, article):
    assert places_generator.indefinite(f"It is a~ {phrase}") == f"It is {article} {phrase}"


# --- reader -----------------------------------------------------------------------------------------------------

GOOD = {"source": "name : Harrow Quay", "references": ["A quay."], "category": "lighthouse", "seen": "seen"}


def test_a_line_becomes_an_example_with_its_tags(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(GOOD) + "\n", encoding="utf-8")
    tags = {"category": "lighthouse", "seen": "seen"}
    assert list(PLACES.read([path], "train")) == [
        Example(source="name : Harrow Quay", references=("A quay.",), tags=tags)
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"source": "na', "no JSON"),
        ("[1]", "JSON object"),
        (json.dumps({key: value for key, value in GOOD.items() if key != "category"}), "missing 'category'"),
        (json.dumps(GOOD | {"references": []}), "references"),
        (json.dumps(GOOD | {"references": [" "]}), "references"),
        (json.dumps(GOOD | {"source": 7}), "source"),
        (json.dumps(GOOD | {"seen": "maybe"}), "seen"),
    ],
)
def test_a_damaged_line_is_reported_with_file_number_and_fault(tmp_path, line, fault):
    path = tmp_path / "test.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"test\.jsonl, line 2: .*{fault}"):
        list(PLACES.read([path], "test"))
