"""XSum: a BBC article -> its one-sentence summary (Narayan et al. 2018, arXiv:1808.08745).

Sources are cut at 512 tokens and decoded with 6 beams and length normalisation 0.8 (Li & Liang 2021), and 11 to 62 new
tokens, which only their code says (it leaves the length penalty at 1.0). Test articles of one text are as many items,
as the official scorer counts them.

`xsum.sample` is cut from 1,000 training and 1,891 test articles; its validation articles are a seeded tenth of the
former. `xsum.news_to_sports` and `xsum.within_news` train on some topics and test on others; the topic is read from the
article's URL as Li & Liang's script does. Their test articles are a random 8,000 of those of the tested topics; the
script does not say from which split, but only the training split has so many. The draw here is seeded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from featherbench.tasks.base import Decoding, Example, File, Task, grouped, one_line
from featherbench.tasks.metrics.official import XSUM_SCORES
from featherbench.tasks.table import rows, text_of, value

MOST_TEST_ARTICLES = 8000

_HUB = "EdinburghNLP/xsum"
_URLS = File(
    path="xsum/XSum-WebArxiveUrls-BBCids.txt",
    sha256=None,
    url="https://github.com/EdinburghNLP/XSum/raw/master/XSum-Dataset/XSum-WebArxiveUrls-BBCids.txt",
)


def _articles(path: Path) -> list[tuple[str, Example]]:
    """Return (BBC id, example) in file order."""
    found = []
    for number, row in rows(path):
        where = f"{path}, line {number}"
        document = value(row, "document", where)
        if not isinstance(document, str):  # it may be empty: a few articles of the release are
            raise ValueError(f"{where}: 'document' must hold text, found {document!r}")
        example = Example(source=one_line(document), references=(text_of(row, "summary", where),))
        found.append((str(value(row, "id", where)), example))
    return found


def _items(examples: list[Example], split: str) -> list[Example]:
    return examples if split == "test" else grouped(examples)


def read(paths: Sequence[Path], split: str) -> list[Example]:
    """Read the articles of one split."""
    return _items([example for _, example in _articles(paths[0])], split)


def read_sample(paths: Sequence[Path], split: str) -> list[Example]:
    """Read the articles of one split of the sample; validation and training share a file."""
    examples = [example for _, example in _articles(paths[0])]
    if split == "test":
        return examples
    chosen = set(random.Random("featherbench xsum.sample validation").sample(range(len(examples)), len(examples) // 10))
    return grouped(e for i, e in enumerate(examples) if (i in chosen) == (split == "validation"))


def topic(url: str) -> tuple[str, ...]:
    """Return the topic of an article's URL, e.g. ("news", "uk") of .../www.bbc.co.uk/news/uk-england-34206083.

    Of the last three parts of the path, the host counts for nothing, and the last part for the words of its slug
    before the first hyphen; a number at its end is dropped.
    """
    *front, last = url.strip("/").split("/")[-3:]
    if front and "www" in front[0]:
        front = front[1:]
    words = [] if last.isdigit() else last.split("-")[:-1]
    return tuple(part for part in (*front, *words[:1]) if part)


def urls(path: Path) -> dict[str, str]:
    """Return BBC id -> URL.

    Raises: ValueError that names file and line.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 2 or "://" not in parts[0]:
            raise ValueError(f"{path}, line {number}: expected a URL and a BBC id, found {line.strip()!r}")
        found[parts[1]] = parts[0]
    return found


def _news_to_sports(found: tuple[str, ...], split: str) -> bool:
    return found[:1] == (("sport",) if split == "test" else ("news",))


def _within_news(found: tuple[str, ...], split: str) -> bool:
    trained = found in (("news", "uk"), ("news", "business"), ("news", "world"))
    return found[:1] == ("news",) and trained == (split != "test")


def _by_topic(name: str, wanted: Callable[[tuple[str, ...], str], bool]) -> Task:
    def read_topics(paths: Sequence[Path], split: str) -> list[Example]:
        of, articles = urls(paths[0]), _articles(paths[1])
        if missing := [bbc_id for bbc_id, _ in articles if bbc_id not in of]:
            raise ValueError(f"{paths[0]} has no URL of {len(missing)} articles, e.g. of {missing[0]}")
        topics = [(topic(of[bbc_id]), example) for bbc_id, example in articles]
        kept = [replace(e, tags={"topic": "/".join(found)}) for found, e in topics if wanted(found, split)]
        if split == "test" and len(kept) > MOST_TEST_ARTICLES:
            chosen = random.Random(f"featherbench {name} test").sample(range(len(kept)), MOST_TEST_ARTICLES)
            kept = [kept[i] for i in sorted(chosen)]
        return _items(kept, split)

    return replace(
        XSUM,
        name=name,
        source="Narayan et al. 2018, by topic as in Li & Liang 2021, arXiv:2101.00190",
        files={
            "train": (_URLS, *XSUM.files["train"]),
            "validation": (_URLS, *XSUM.files["validation"]),
            "test": (_URLS, *XSUM.files["train"]),
        },
        read=read_topics,
    )


XSUM = Task(
    name="xsum",
    source="Narayan et al. 2018, arXiv:1808.08745",
    licence="the articles are copyright BBC; research use",
    samples_allowed=False,  # no licence is given for the articles
    version=1,
    files={
        split: (File(path=f"xsum/{split}.jsonl", sha256=None, hub=f"{_HUB}:{split}"),)
        for split in ("train", "validation", "test")
    },
    read=read,
    scores=XSUM_SCORES,
    primary="rouge2",
    words="summarize:",
    decoding=Decoding(beams=6, max_new_tokens=62, length_penalty=0.8, min_new_tokens=11),
    max_source_tokens=512,
    repeated_sources=True,
    overlap=None,
)

_SAMPLE_TRAIN = File(
    path="xsum/train.subset.jsonl.gz",
    sha256="753e36effb722a1ef319a34db79a3f587f054e2718317d8cf8b427394263d55e",
    mend="It is a sample that is not published; use the task xsum.",
)
XSUM_SAMPLE = replace(
    XSUM,
    name="xsum.sample",
    source="2,891 articles of Narayan et al. 2018; its scores are not XSum scores",
    files={
        "train": (_SAMPLE_TRAIN,),
        "validation": (_SAMPLE_TRAIN,),
        "test": (
            replace(
                _SAMPLE_TRAIN,
                path="xsum/test.subset.jsonl.gz",
                sha256="dfead74dcda7b21c0e21fd195d572909eb879b2954a35f5a444a24057fa8a6c3",
            ),
        ),
    },
    read=read_sample,
    overlap=0,
)

XSUM_NEWS_TO_SPORTS = _by_topic("xsum.news_to_sports", _news_to_sports)
XSUM_WITHIN_NEWS = _by_topic("xsum.within_news", _within_news)
