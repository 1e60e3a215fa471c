"""Examples and the index lists that choose among them; release files that are missing, damaged or odd."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from featherbench.harness import data
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example, File, Task
from featherbench.tasks.e2e import E2E, E2E_PAPER, linearise
from featherbench.tasks.files import DataError, read_checked
from featherbench.tasks.load import all_pairs, load, low_data_pairs, low_data_validation, random_items, shuffle

DRAWS = ["search0", "search1", "final0", "final1"]
EXAMPLES = [Example(source=f"s{i}", references=tuple(f"r{i}.{k}" for k in range(1 + i % 4))) for i in range(200)]

# --- low-data draws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWS)
def test_a_smaller_size_of_a_draw_is_the_beginning_of_a_larger_one(draw: str) -> None:
    largest = low_data_pairs(EXAMPLES, 100, draw)
    for size in (1, 10, 50, 99):
        assert low_data_pairs(EXAMPLES, size, draw) == largest[:size]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_has_distinct_inputs_and_pairs_that_exist(draw: str) -> None:
    pairs = low_data_pairs(EXAMPLES, 100, draw)
    assert len({item for item, _ in pairs}) == 100
    assert set(pairs) <= set(all_pairs(EXAMPLES))
    assert len({reference for _, reference in pairs}) == 4, "not always the first reference"


def test_draws_differ_and_are_the_same_every_time() -> None:
    found = {draw: low_data_pairs(EXAMPLES, 20, draw) for draw in DRAWS}
    assert len({tuple(pairs) for pairs in found.values()}) == len(DRAWS)
    assert found == {draw: low_data_pairs(EXAMPLES, 20, draw) for draw in DRAWS}


def test_search_and_final_draws_come_from_halves_that_never_meet() -> None:
    items = {draw: {item for item, _ in low_data_pairs(EXAMPLES, 100, draw)} for draw in DRAWS}
    assert items["search0"] == items["search1"] and items["final0"] == items["final1"]
    assert not items["search0"] & items["final0"]


def test_a_draw_is_forever() -> None:
    """Golden: these pairs are part of every stored trial. To recompute: low_data_pairs(EXAMPLES, 4, draw)."""
    assert low_data_pairs(EXAMPLES, 4, "final0") == [(120, 0), (82, 1), (154, 0), (196, 0)]
    assert low_data_pairs(EXAMPLES, 4, "search0") == [(85, 0), (138, 1), (57, 0), (89, 1)]
    assert random_items(EXAMPLES, 5) == [20, 90, 155, 162, 178]


def test_a_size_beyond_the_half_is_refused_with_what_there_is() -> None:
    with pytest.raises(DataError, match="size 101 is larger than the 100 inputs that search draws may use"):
        low_data_pairs(EXAMPLES, 101, "search2")


def test_validation_draws_have_distinct_inputs_and_no_more_than_there_are() -> None:
    pairs = low_data_validation(EXAMPLES, 200, "final0")
    assert sorted(item for item, _ in pairs) == list(range(200))
    assert low_data_validation(EXAMPLES, 30, "final0") != low_data_validation(EXAMPLES, 30, "final1")
    with pytest.raises(DataError, match="a validation set of 201 is larger than the 200 inputs"):
        low_data_validation(EXAMPLES, 201, "final0")


def test_a_part_of_the_test_items_is_fixed_and_in_file_order() -> None:
    found = random_items(EXAMPLES, 50)
    assert found == random_items(EXAMPLES, 50) == sorted(set(found))
    assert random_items(EXAMPLES, 200) == list(range(200))
    with pytest.raises(DataError, match="201 items were asked for, the split has 200"):
        random_items(EXAMPLES, 201)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000])
def test_our_shuffle_is_pythons(length: int) -> None:
    ours, theirs = list(range(length)), list(range(length))
    streams = [random.Random(f"seed {length}") for _ in range(2)]
    shuffle(streams[0], ours)
    streams[1].shuffle(theirs)
    assert ours == theirs and streams[0].random() == streams[1].random()


def test_a_subset_is_named_by_what_it_holds_and_hashed_by_its_indices() -> None:
    low = data.subset("places", "train", 20, "final0")
    assert low.name == "train20.final0" and data.subset("places", "train").name == "train"
    assert low.sha256 != data.subset("places", "train", 20, "final1").sha256
    assert [list(p) for p in low_data_pairs(load("places", "train"), 20, "final0")] == data.checked_indices(
        "places", low
    )


def test_an_index_list_that_is_not_the_planned_one_is_refused() -> None:
    other = data.subset("places", "train", 20, "final0").model_copy(update={"sha256": "0" * 64})
    with pytest.raises(DataError, match="places train20.final0: the index list here differs from the planned one"):
        data.pairs("places", other)


@pytest.mark.parametrize(
    ("split", "size", "draw"),
    [("validation", None, None), ("validation", 12, "search0"), ("test", None, None), ("test", 9, None)],
)
def test_references_come_in_the_order_of_the_items(split: str, size: int | None, draw: str | None) -> None:
    wanted = data.subset("places", split, size, draw)
    found, examples = data.references("places", wanted), load("places", split)
    assert list(found) == data.items("places", wanted)
    for item, example in found.items():
        assert example.source == examples[item].source and example.tags == examples[item].tags
        low_data = split == "validation" and size
        assert example.references == (examples[item].references[:1] if low_data else examples[item].references)


# --- release files -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, set as FEATHERBENCH_DATA."""
    monkeypatch.setenv("FEATHERBENCH_DATA", str(tmp_path))
    return tmp_path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONTENT = bytes(i * i % 251 for i in range(5000))
PLAIN = File(path="some/train.csv", sha256=sha256(CONTENT), url="https://example.invalid/train.csv")
PACKED = File(path="some/train.csv.gz", sha256=sha256(CONTENT), url="https://example.invalid/train.csv")


def test_a_file_is_checked_by_the_sha256_of_its_decompressed_content(folder: Path) -> None:
    (folder / "some").mkdir()
    (folder / PLAIN.path).write_bytes(CONTENT)
    (folder / PACKED.path).write_bytes(gzip.compress(CONTENT))
    assert read_checked(PLAIN) == read_checked(PACKED) == CONTENT


def test_the_data_folder_may_be_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are copied into the cache once; one without a declared sha256 may change and is copied each time."""
    import fsspec

    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("FEATHERBENCH_DATA", "memory://bucket/data")
    store, loose = fsspec.filesystem("memory"), dataclasses.replace(PLAIN, path="some/loose.csv", sha256=None)
    store.pipe_file("/bucket/data/some/train.csv.gz", gzip.compress(CONTENT))
    store.pipe_file("/bucket/data/some/loose.csv", b"first")
    assert read_checked(PLAIN) == CONTENT and read_checked(loose) == b"first"
    store.rm("/bucket/data/some/train.csv.gz")
    store.pipe_file("/bucket/data/some/loose.csv", b"second")
    assert read_checked(PLAIN) == CONTENT and read_checked(loose) == b"second"
    with pytest.raises(DataError, match="gone.csv is missing in the data folder memory://bucket/data"):
        read_checked(dataclasses.replace(PLAIN, path="some/gone.csv"))


def test_an_object_store_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path))
    for url in ("nosuch://user:SECRET@bucket", "http://user:SECRET@127.0.0.1:9/data"):
        monkeypatch.setenv("FEATHERBENCH_DATA", url)
        with pytest.raises(DataError, match="cannot read some/train.csv from FEATHERBENCH_DATA=") as caught:
            read_checked(PLAIN)
        assert "SECRET" not in str(caught.value)


def test_a_missing_file_names_the_folder_and_what_is_expected(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_checked(PLAIN)
    assert all(part in str(caught.value) for part in ("some/train.csv is missing", str(folder), PLAIN.sha256))


@pytest.mark.parametrize("file", [PLAIN, PACKED], ids=["plain", "packed"])
def test_another_content_names_the_expected_and_the_found_sha256(folder: Path, file: File) -> None:
    other = CONTENT[:-1]
    (folder / "some").mkdir()
    (folder / file.path).write_bytes(gzip.compress(other) if file is PACKED else other)
    with pytest.raises(DataError) as caught:
        read_checked(file)
    parts = (str(folder / file.path), f"expected sha256 {file.sha256}", f"found {sha256(other)}")
    assert all(part in str(caught.value) for part in parts)


def flipped(position: int) -> bytes:
    packed = bytearray(gzip.compress(CONTENT))
    packed[position] ^= 0xFF
    return bytes(packed)


DAMAGED = {
    "cut": gzip.compress(CONTENT)[:-30],
    "no gzip": CONTENT,
    "wrong checksum": flipped(-6),
    "empty": b"",
    "wrong deflate stream": flipped(12),
}


@pytest.mark.parametrize(
    "packed",
    [pytest.param(content, id=name) for name, content in DAMAGED.items()],
)
def test_a_damaged_gz_file_is_named(folder: Path, packed: bytes) -> None:
    (folder / "some").mkdir()
    (folder / PACKED.path).write_bytes(packed)
    with pytest.raises(DataError, match=r"some/train\.csv\.gz"):
        read_checked(PACKED)


def test_a_file_that_should_travel_inside_the_package_is_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATHERBENCH_DATA", raising=False)
    with pytest.raises(DataError, match="gone.jsonl should be inside the package"):
        read_checked(File(path="places/gone.jsonl", sha256="00"))


# --- a task of one's own -------------------------------------------------------------------------------------------


def tiny_task(name: str, contents: dict[str, bytes], folder: Path, read: object) -> Task:
    """A task whose three splits are the given files."""
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    files = {Path(path).stem: (File(path=path, sha256=sha256(content)),) for path, content in contents.items()}
    return dataclasses.replace(E2E, name=name, files=files, read=read)


def test_an_empty_split_is_refused_and_leaves_nothing_in_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(folder / "cache"))
    task = tiny_task("tiny.empty", {"train.csv": b"mr,ref\r\n"}, folder, E2E.read)
    monkeypatch.setitem(TASKS, task.name, task)
    for _ in range(2):
        with pytest.raises(DataError, match="the train split of task tiny.empty is empty; see .*train.csv"):
            load("tiny.empty", "train")
    assert not list((folder / "cache").rglob("*.arrow"))


def test_examples_read_back_from_the_cache_are_those_that_were_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(folder / "cache"))
    read = [
        Example(source="é | £", references=("one", "two"), tags={"seen": "seen"}),
        Example(source="s", references=("x",), tags={"seen": "unseen"}),
    ]
    task = tiny_task("tiny.cached", {"train.csv": b"any"}, folder, lambda paths, split: read)
    monkeypatch.setitem(TASKS, task.name, task)
    assert list(load("tiny.cached", "train")) == read
    assert load("tiny.cached", "train")[:1] == read[:1] and load("tiny.cached", "train")[-1] == read[-1]


# --- E2E -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        (
            "name[The Eagle], eatType[coffee shop], food[Japanese], priceRange[less than £20], "
            "customer rating[low], area[riverside], familyFriendly[yes], near[Burger King]",
            "name : The Eagle | Type : coffee shop | food : Japanese | price : less than £20 | "
            "customer rating : low | area : riverside | family friendly : yes | near : Burger King",
        ),
        ("name[Aromi]", "name : Aromi"),
        ("name[Café, Sicilia], near[A, B]", "name : Café, Sicilia | near : A, B"),
        ("name[], area[x]", "name :  | area : x"),
    ],
    ids=["all eight fields", "one field", "commas in values", "an empty value"],
)
def test_a_meaning_is_linearised_field_by_field(meaning: str, expected: str) -> None:
    assert linearise(meaning) == expected


def read_csv(tmp_path: Path, content: bytes) -> Sequence[Example]:
    path = tmp_path / "trainset.csv"
    path.write_bytes(content)
    return list(E2E.read([path], "train"))


def test_rows_of_one_meaning_are_one_item_and_duplicate_rows_stay(tmp_path: Path) -> None:
    content = "mr,ref\nname[A],one\nname[B],two\nname[A],three\nname[A],one\n"
    assert read_csv(tmp_path, content.encode()) == [
        Example(source="name : A", references=("one", "three", "one")),
        Example(source="name : B", references=("two",)),
    ]


def test_windows_line_ends_quoted_line_breaks_and_letters_beyond_ascii_are_read(tmp_path: Path) -> None:
    content = 'mr,ref\r\n"name[Café A], priceRange[£20]","Café A,\r\n£20 a head "\r\n"name[B]","Say ""hi"""\r\n'
    assert read_csv(tmp_path, content.encode()) == [
        Example(source="name : Café A | price : £20", references=("Café A, £20 a head",)),
        Example(source="name : B", references=('Say "hi"',)),
    ]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("MR,ref\nname[A],one\n", r"trainset.csv: the header is \['MR', 'ref'\], expected \['mr', 'ref'\]"),
        ("mr,ref\nname[A]\n", "trainset.csv, line 2: expected two columns"),
        ("mr,ref\nname[A],one\nname[B],two,three\n", "trainset.csv, line 3: expected two columns"),
    ],
    ids=["header", "one column", "three columns"],
)
def test_a_malformed_row_is_named_with_file_and_line(tmp_path: Path, content: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        read_csv(tmp_path, content.encode())


def test_lines_of_the_papers_files_split_in_two_or_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "src1_valid.txt"
    path.write_text("name : A || one .\nname : A||two\n\nno bars\nname : B||x||y\n", encoding="utf-8")
    assert list(E2E_PAPER.read([path], "validation")) == [Example(source="name : A", references=("one .", "two"))]


# Inputs and references of the release, from the README.md of the data sets.
COUNTS = {"train": (4862, 42061), "validation": (547, 4672), "test": (630, 4693)}


@pytest.mark.parametrize("split", COUNTS)
@pytest.mark.parametrize("task", ["e2e", "e2e.paper"])
def test_e2e_has_as_many_items_and_references_as_its_release(task: str, split: str, real_data: Path) -> None:
    examples = list(load(task, split))
    assert (len(examples), sum(len(e.references) for e in examples)) == COUNTS[split]


def test_the_papers_test_sources_have_the_official_references(real_data: Path) -> None:
    """The two files write the same inputs with other spaces and case; the references are the official ones."""
    official, paper = list(load("e2e", "test")), list(load("e2e.paper", "test"))

    def letters(source: str) -> str:
        return "".join(c for c in source.lower() if c.isalnum())

    by_letters = {letters(e.source): e.references for e in official}
    assert len(by_letters) == len(official) == len(paper)
    assert {letters(e.source): e.references for e in paper} == by_letters


def test_an_official_training_item_reads_as_in_the_release(real_data: Path) -> None:
    first = load("e2e", "train")[0]
    assert first.source == (
        "name : The Vaults | Type : pub | price : more than £30 | customer rating : 5 out of 5 | near : Café Adriatic"
    )
    assert first.references[0] == "The Vaults pub near Café Adriatic has a 5 star rating.  Prices start at £30."
