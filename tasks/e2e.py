"""E2E NLG: a restaurant's attributes -> one or two sentences (Novikova et al. 2017, arXiv:1706.09254).

`e2e` reads the official CSV files. `e2e.paper` takes sources and targets from the files of Li & Liang 2021, whose
text is tokenised; its test outputs are scored against the official references.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from featherbench.tasks.base import Example, File, Task, grouped
from featherbench.tasks.metrics.official import E2E_SCORES

FIELDS = {"eatType": "Type", "priceRange": "price", "familyFriendly": "family friendly"}
"""Official field names -> those of Li & Liang's linearisation"""

_ORIGIN = "https://github.com/tuetschek/e2e-dataset/raw/master"
_PAPER = "https://github.com/XiangLi1999/PrefixTuning/raw/cleaned/data/e2e_data"
_TEST_REFERENCES = File(
    path="e2e/testset_w_refs.csv",
    sha256="edc8db685e39bb9824d5bd70c18b1c9b0412d14b527aa960e2d1c8251ee15ccd",
    url=f"{_ORIGIN}/testset_w_refs.csv",
)


def linearise(meaning: str) -> str:
    """Turn "name[Aromi], eatType[pub]" into "name : Aromi | Type : pub"."""
    fields = re.findall(r"([^,\[\]]+)\[([^\]]*)\](?:, )?", meaning)
    return " | ".join(f"{FIELDS.get(name, name)} : {value}" for name, value in fields)


def _official_pairs(path: Path) -> Iterable[Example]:
    """Yield an example for each row; a reference may hold line breaks inside quotes."""
    with path.open(newline="", encoding="utf-8") as rows:
        reader = csv.DictReader(rows)
        if reader.fieldnames != ["mr", "ref"]:
            raise ValueError(f"{path.name}: the header is {reader.fieldnames}, expected ['mr', 'ref']")
        for row in reader:
            if not row["mr"] or row["ref"] is None or None in row:
                raise ValueError(f"{path.name}, line {reader.line_num}: expected two columns, found {row}")
            reference = re.sub(r"[\r\n]+", " ", row["ref"]).strip()
            yield Example(source=linearise(row["mr"]), references=(reference,))


def read(paths: Sequence[Path], split: str) -> list[Example]:
    """Read the official CSV of one split."""
    return grouped(_official_pairs(paths[0]))


def _paper_pairs(path: Path) -> Iterable[Example]:
    """Yield an example for each of the lines `source||target`; a line that does not split in two is dropped, as in the paper."""
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.count("||") == 1:
            source, target = line.split("||")
            yield Example(source=source.strip(), references=(target.strip(),))


def _letters(source: str) -> str:
    """What stays equal between the tokenised and the official source."""
    return re.sub(r"\W", "", source.lower())


def read_paper(paths: Sequence[Path], split: str) -> list[Example]:
    """Read the paper's file of one split; of test, with the official references."""
    examples = grouped(_paper_pairs(paths[0]))
    if split != "test":
        return examples
    official = {_letters(e.source): e.references for e in grouped(_official_pairs(paths[1]))}
    return [Example(source=e.source, references=official[_letters(e.source)]) for e in examples]


E2E = Task(
    name="e2e",
    source="Novikova et al. 2017, arXiv:1706.09254",
    licence="CC BY-SA 4.0",
    samples_allowed=True,
    version=2,  # 1 collapsed runs of blanks in targets
    files={
        "train": (
            File(
                path="e2e/trainset.csv.gz",
                sha256="f27d48df45815288ab15619d47a79028c300fbb7f42e373668aba0b98c1d57c6",
                url=f"{_ORIGIN}/trainset.csv",
            ),
        ),
        "validation": (
            File(
                path="e2e/devset.csv",
                sha256="fc26b78cdb849c80545f513b223d1e051138b43882eeb79e3eb153e689c864f9",
                url=f"{_ORIGIN}/devset.csv",
            ),
        ),
        "test": (_TEST_REFERENCES,),
    },
    read=read,
    scores=E2E_SCORES,
    primary="bleu",
    words="table-to-text:",
)

E2E_PAPER = Task(
    name="e2e.paper",
    source="Novikova et al. 2017 in the files of Li & Liang 2021, arXiv:2101.00190",
    licence="CC BY-SA 4.0",
    samples_allowed=True,
    version=2,  # 1 collapsed runs of blanks in targets
    files={
        "train": (
            File(
                path="e2e/prefix_tuning_format/src1_train.txt.gz",
                sha256="eae319082237310913d9f37f6a891d48fb3f821f29d86870d2cb4f92ddd72c5a",
                url=f"{_PAPER}/src1_train.txt",
            ),
        ),
        "validation": (
            File(
                path="e2e/prefix_tuning_format/src1_valid.txt.gz",
                sha256="ba963113c8401d3d26216c0dc0a6dae1ea6ea927de3bf830e32c41f65401c80d",
                url=f"{_PAPER}/src1_valid.txt",
            ),
        ),
        "test": (
            File(
                path="e2e/prefix_tuning_format/src1_test.txt.gz",
                sha256="81b1bcd40c4f12845ec4eb61a77bf43765d112483cd9b2f91ef10bfc1b3d8f13",
                url=f"{_PAPER}/src1_test.txt",
            ),
            _TEST_REFERENCES,
        ),
    },
    read=read_paper,
    scores=E2E_SCORES,
    primary="bleu",
    words="table-to-text:",
)
