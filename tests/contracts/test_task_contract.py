"""What every task must satisfy. A task whose files cannot be had here is skipped, with the reason."""

from __future__ import annotations

import pytest

from featherbench.harness.data import tag_groups
from featherbench.tasks import TASKS
from featherbench.tasks.base import SPLITS, Task, Unavailable
from featherbench.tasks.files import DataMissing
from featherbench.tasks.load import all_pairs, load, low_data_pairs, num_references


@pytest.fixture
def splits(task: Task, request: pytest.FixtureRequest) -> dict[str, list[object]]:
    if any(f.url for files in task.files.values() for f in files):
        try:
            request.getfixturevalue("real_data")
        except pytest.FixtureLookupError:
            pass  # run by `featherbench test`: the environment decides where the data are
    try:
        return {split: list(load(task.name, split)) for split in SPLITS}
    except DataMissing as error:
        pytest.skip(str(error))


def test_the_record_is_complete(task: Task) -> None:
    assert TASKS[task.name] is task
    assert task.source and task.licence and task.version >= 1
    assert set(task.files) == set(SPLITS)
    assert all(f.sha256 is None or len(f.sha256) == 64 for files in task.files.values() for f in files)
    assert task.primary in {s.name for s in task.scores}
    assert task.words and task.words == task.words.strip()
    assert task.decoding.beams >= 1 and task.decoding.max_new_tokens >= 1


def test_items_are_distinct_sources_with_references(splits: dict[str, list], task: Task) -> None:
    for split, examples in splits.items():
        assert examples, split
        sources = [e.source for e in examples]
        if split != "test" or not task.repeated_sources:
            assert len(set(sources)) == len(sources), f"{split}: one source, two items"
        assert all(e.source == e.source.strip() and "\n" not in e.source for e in examples)
        assert all(e.references and all(r.strip() and "\n" not in r for r in e.references) for e in examples)
        assert len({tuple(sorted(e.tags)) for e in examples}) == 1, "every example has the same tags"


def test_no_source_is_in_two_splits_but_those_that_the_task_declares(splits: dict[str, list], task: Task) -> None:
    train, validation, test = ({e.source for e in splits[split]} for split in SPLITS)
    found = len(train & validation) + len(train & test) + len(validation & test)
    assert task.overlap is None or found == task.overlap


def test_unseen_items_are_in_the_test_split_only(splits: dict[str, list], task: Task) -> None:
    for split in ("train", "validation"):
        assert all(e.tags.get("seen", "seen") == "seen" for e in splits[split])
    groups = tag_groups(splits["test"])
    assert len(groups["all"]) == len(splits["test"])
    if len(groups) > 1:
        assert sum(len(g) for name, g in groups.items() if name != "all") == len(groups["all"])


def test_references_are_counted_as_they_are_read(splits: dict[str, list], task: Task) -> None:
    for split, examples in splits.items():
        assert num_references(load(task.name, split)) == [len(example.references) for example in examples]


def test_low_data_draws_are_nested_and_one_per_input(splits: dict[str, list], task: Task) -> None:
    examples = splits["train"]
    size = min(20, len(examples) // 2)
    draw = low_data_pairs(examples, size, "final0")
    assert draw[: size // 2] == low_data_pairs(examples, size // 2, "final0")
    assert len({item for item, _ in draw}) == size
    assert set(draw) <= set(all_pairs(examples))
    assert not {i for i, _ in draw} & {i for i, _ in low_data_pairs(examples, size, "search0")}


def test_references_score_better_than_sources(splits: dict[str, list], task: Task) -> None:
    examples = splits["test"][:50]
    references = [e.references for e in examples]
    for score in task.scores:
        try:
            perfect = score.corpus([e.references[0] for e in examples], references)
        except Unavailable:
            continue
        copied = score.corpus([e.source for e in examples], references)
        assert (perfect > copied) == score.higher_is_better
        assert str(len(examples)) in score.signature(references)
