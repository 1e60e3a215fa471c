"""XSum: local files or the hub, the sample's validation cut, and topics from URLs. On small data made here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import polars
import pytest

from featherbench.tasks import TASKS, xsum
from featherbench.tasks.base import Decoding, Example
from featherbench.tasks.files import DataError
from featherbench.tasks.load import _loaded, content_sha256, load
from featherbench.tasks.xsum import topic, urls

ARTICLES = {
    "train": [("10", "news/uk-england-10"), ("11", "news/world-africa-11"), ("12", "sport/football/12")]
    + [("13", "news/health-13"), ("14", "sport/0/golf/14"), ("15", "news/15")],
    "validation": [("20", "news/business-20"), ("21", "sport/tennis/21"), ("22", "news/technology-22")],
    "test": [("30", "news/uk-30")],
}
URLS = "http://web.archive.org/web/20150910162153/http://www.bbc.co.uk/"


def article(bbc_id: str) -> dict[str, str]:
    return {"document": f"First – £{bbc_id}.\nSecond\u2028line.", "summary": f"Summary {bbc_id}.", "id": bbc_id}


def as_lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder with a small XSum, set as FEATHERBENCH_DATA."""
    (tmp_path / "xsum").mkdir()
    for split, articles in ARTICLES.items():
        (tmp_path / "xsum" / f"{split}.jsonl").write_text(as_lines([article(i) for i, _ in articles]), encoding="utf-8")
    lines = [f"{URLS}{path}\t{bbc_id}" for articles in ARTICLES.values() for bbc_id, path in articles]
    (tmp_path / "xsum" / "XSum-WebArxiveUrls-BBCids.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("FEATHERBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("FEATHERBENCH_CACHE", str(tmp_path / "cache"))
    _loaded.cache_clear()
    yield tmp_path
    _loaded.cache_clear()


def test_an_article_is_one_line_and_its_summary_the_reference(folder: Path) -> None:
    assert load("xsum", "test")[0] == Example(source="First – £30. Second line.", references=("Summary 30.",))
    assert [len(load("xsum", split)) for split in ARTICLES] == [6, 3, 1]


def test_the_settings_are_the_papers() -> None:
    task = TASKS["xsum"]
    assert task.decoding == Decoding(beams=6, length_penalty=0.8, min_new_tokens=11, max_new_tokens=62)
    assert task.max_source_tokens == 512


def as_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def as_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    polars.DataFrame(rows).write_parquet(path)


@pytest.mark.parametrize(("ending", "write"), [(".csv", as_csv), (".parquet", as_parquet)], ids=["csv", "parquet"])
def test_a_local_folder_may_hold_other_formats(folder: Path, ending: str, write: Callable[..., None]) -> None:
    before = {split: list(load("xsum", split)) for split in ARTICLES}
    found = content_sha256("xsum")
    for split, articles in ARTICLES.items():
        (folder / "xsum" / f"{split}.jsonl").unlink()
        write(folder / "xsum" / f"{split}{ending}", [article(i) for i, _ in articles])
    _loaded.cache_clear()
    assert {split: list(load("xsum", split)) for split in ARTICLES} == before
    assert content_sha256("xsum") == found, "the rows count, not the format"


def test_without_a_data_folder_it_comes_from_the_hub_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, *, split: str) -> Any:
        asked.append((name, split))
        return datasets.Dataset.from_list([article(i) for i, _ in ARTICLES[split]])

    before = list(load("xsum", "train"))
    monkeypatch.delenv("FEATHERBENCH_DATA")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for _ in range(2):
        _loaded.cache_clear()
        assert list(load("xsum", "train")) == before
    assert asked == [("EdinburghNLP/xsum", "train")]


def test_a_hub_that_cannot_be_reached_says_where_to_put_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(name: str, *, split: str) -> Any:
        raise ConnectionError("no\nnetwork")

    monkeypatch.delenv("FEATHERBENCH_DATA")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"cannot get EdinburghNLP/xsum \(train\) .*no network.*<folder>/xsum/train"):
        load("xsum", "train")


def test_a_folder_without_the_articles_says_what_to_do(folder: Path) -> None:
    (folder / "xsum" / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"xsum/train\.jsonl is missing in .*unset FEATHERBENCH_DATA.*EdinburghNLP"):
        load("xsum", "train")


def test_a_damaged_line_is_named_with_the_file_that_people_know(folder: Path) -> None:
    path = folder / "xsum" / "test.jsonl"
    path.write_text(as_lines([article("1")]) + '{"document": "x"', encoding="utf-8")
    with pytest.raises(DataError, match=r"xsum, test: xsum/test\.jsonl, line 2: this is no JSON"):
        load("xsum", "test")
    path.write_text('{"document": "x", "sumary": "y", "id": "1"}\n')
    with pytest.raises(DataError, match=r"line 1: there is no column 'summary'. Did you mean 'sumary'\?"):
        load("xsum", "test")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("news/uk-england-34206083", ("news", "uk")),
        ("news/business-34", ("news", "business")),
        ("news/34206083", ("news",)),
        ("news/magazine-34/", ("news", "magazine")),
        ("sport/football/34206083", ("sport", "football")),
        ("sport/0/golf/34206083", ("0", "golf")),
        ("sport/rugby-union/34", ("sport", "rugby-union")),
        ("news/uk", ("news",)),
        ("newsbeat/article/34/a-title-here", ("article", "34", "a")),
    ],
)
def test_the_topic_is_in_the_last_three_parts_of_the_url(path: str, expected: tuple[str, ...]) -> None:
    assert topic(URLS + path) == expected


def test_news_to_sports_trains_on_news_and_tests_on_sport(folder: Path) -> None:
    def topics(split: str) -> list[str]:
        return [e.tags["topic"] for e in load("xsum.news_to_sports", split)]

    assert topics("train") == ["news/uk", "news/world", "news/health", "news"]
    assert topics("validation") == ["news/business", "news/technology"]
    assert topics("test") == ["sport/football"], "the script's rule does not see sport in .../sport/0/golf/14"


def test_within_news_trains_on_three_topics_and_tests_on_the_others(folder: Path) -> None:
    def found(split: str) -> list[tuple[str, str]]:
        return [(e.references[0], e.tags["topic"]) for e in load("xsum.within_news", split)]

    assert found("train") == [("Summary 10.", "news/uk"), ("Summary 11.", "news/world")]
    assert found("validation") == [("Summary 20.", "news/business")]
    assert found("test") == [("Summary 13.", "news/health"), ("Summary 15.", "news")]


def test_no_more_than_8000_test_articles_are_drawn_the_same_every_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xsum, "MOST_TEST_ARTICLES", 1)
    task = TASKS["xsum.within_news"]
    paths = [folder / "xsum" / "XSum-WebArxiveUrls-BBCids.txt", folder / "xsum" / "train.jsonl"]
    first = list(task.read(paths, "test"))
    assert len(first) == 1 and list(task.read(paths, "test")) == first


@pytest.mark.parametrize("task", ["xsum.news_to_sports", "xsum.within_news"])
def test_without_urls_the_error_names_the_file_and_its_place(folder: Path, task: str) -> None:
    (folder / "xsum" / "XSum-WebArxiveUrls-BBCids.txt").unlink()
    with pytest.raises(DataError) as caught:
        load(task, "train")
    parts = ("xsum/XSum-WebArxiveUrls-BBCids.txt is missing", str(folder), "EdinburghNLP/XSum/raw", "put it there")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_an_article_without_url_and_a_damaged_line_of_urls_are_named(folder: Path) -> None:
    path = folder / "xsum" / "XSum-WebArxiveUrls-BBCids.txt"
    path.write_text(f"{URLS}news/uk-10\t10\n")
    with pytest.raises(DataError, match=r"XSum-WebArxiveUrls-BBCids\.txt has no URL of 5 articles, e\.g\. of 11"):
        load("xsum.within_news", "train")
    path.write_text(f"{URLS}news/uk-10\t10\r\nnothing\n")
    with pytest.raises(ValueError, match="line 2: expected a URL and a BBC id, found 'nothing'"):
        urls(path)


# Articles of the sample, from the README.md of the data sets: 1,000 and 1,891.
SAMPLE = {"train": 900, "validation": 100, "test": 1891}


@pytest.mark.parametrize("split", SAMPLE)
def test_the_sample_has_its_articles(split: str, real_data: Path) -> None:
    found = list(load("xsum.sample", split))
    assert len(found) == SAMPLE[split]
    assert {len(e.references) for e in found} == {1}


def test_the_samples_validation_articles_are_not_in_its_training(real_data: Path) -> None:
    train, validation = ({e.source for e in load("xsum.sample", split)} for split in ("train", "validation"))
    assert len(train | validation) == 1000


def test_the_samples_validation_cut_is_forever() -> None:
    """Golden: to recompute, print the positions. A changed cut needs a new task version."""
    articles = [article(str(i)) | {"document": f"Text {i}."} for i in range(1000)]
    paths = [Path("train.jsonl")]
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(
        xsum, "_articles", lambda path: [(a["id"], Example(source=a["document"], references=("x",))) for a in articles]
    )
    found = [e.source for e in xsum.read_sample(paths, "validation")]
    monkeypatch.undo()
    assert found[:5] == [f"Text {i}." for i in [0, 2, 12, 13, 19]]
