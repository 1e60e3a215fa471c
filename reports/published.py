"""What the Prefix-Tuning paper printed, in our names and scales, and which of it stands beside a row of ours.

The figures lie in data/paper_results.json as they are printed, in both versions of the paper.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from featherbench.reports.boards import ALL, SEEN, UNSEEN, Board, Summary

PAPER = Path(__file__).parent / "data" / "paper_results.json"

SUBSETS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "e2e": {("E2E", "test"): ALL},
    "e2e.paper": {("E2E", "test"): ALL},
    "webnlg": {("WebNLG", "seen"): SEEN, ("WebNLG", "unseen"): UNSEEN, ("WebNLG", "all"): ALL},
    "dart": {("DART", "test"): ALL},
    "xsum": {("XSUM", "test"): ALL},
    "xsum.news_to_sports": {("XSUM-extrapolation", "news-to-sports"): ALL},
    "xsum.within_news": {("XSUM-extrapolation", "within-news"): ALL},
}
"""Our task -> {(task, split) of the paper: our subset}"""

_ROUGE = {"ROUGE-1": ("rouge1", 1), "ROUGE-2": ("rouge2", 1), "ROUGE-L": ("rougeL", 1)}
SCORES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "E2E": {
        "BLEU": ("bleu", 1),
        "NIST": ("nist_py", 1),
        "METEOR": ("meteor", 1),
        "ROUGE_L": ("rouge_l", 1),
        "CIDEr": ("cider", 1),
    },
    "WebNLG": {"BLEU": ("bleu", 1), "METEOR": ("meteor", 100), "TER": ("ter", 100)},
    "DART": {
        "BLEU": ("bleu_lower_split", 1),  # the form in which the published figures were scored
        "METEOR": ("meteor", 100),
        "TER": ("ter", 100),
        "MoverScore": ("moverscore", 100),
        "BERTScore": ("bertscore", 100),
        "BLEURT": ("bleurt", 1),
    },
    "XSUM": _ROUGE,
    "XSUM-extrapolation": _ROUGE,
}
"""Task of the paper -> {its score: (ours, factor to our scale)}; what it prints from 0 to 1 are points of 100 here"""

METHODS = {"full_ft": "finetune", "ft_top2": "ft-top2", "adapter": "adapter", "prefix": "prefix"}
COUNTED = {"infix": "infix", "embedding_only": "emb"}
"""Methods whose published rows are named by their length: infix-10"""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One figure in both versions of the paper."""

    model: str
    method: str
    """As the paper names it"""
    score: str
    metric: str
    """Our name of the score"""
    subset: str
    tables: Mapping[str, str]
    """{version: its table}"""
    printed: Mapping[str, float]
    """{version: value as printed}"""
    factor: int
    """From the printed scale to ours"""
    training: Mapping[str, Any]
    """Its learning rate, epochs, batch and prefix length; empty where none are printed"""
    note: str

    def value(self, version: str) -> float:
        """Return the figure on our scale."""
        return round(self.factor * self.printed[version], 6)  # 100 x .29 is not quite 29


@cache
def paper() -> Mapping[str, Any]:
    """Return the content of data/paper_results.json: paper, origin, versions, tables, training, protocol."""
    content: Mapping[str, Any] = json.loads(PAPER.read_text(encoding="utf-8"))
    return content


def own_model(backbone: str) -> str | None:
    """Return which of the paper's models a backbone is, by the last part of its name; None: another one."""
    name = backbone.rstrip("/").split("/")[-1].lower()
    return name if name in {table["model"] for table in paper()["tables"]} else None


def model_beside(board: Board) -> str | None:
    """Return the model whose figures stand beside a board: the board's own, or the paper's main one for the task."""
    models = [table["model"] for table in paper()["tables"] if _subset(board, table) is not None]
    own = own_model(board.key.backbone)
    return own if own in models else next(iter(models), None)


def published(board: Board, row: Summary) -> list[Published]:
    """Return the paper's figures for a row's method at its size; for each score and subset the first table's."""
    model = model_beside(board)
    found: dict[tuple[str, str], Published] = {}
    for table in paper()["tables"]:
        subset = _subset(board, table)
        if subset is None or table["model"] != model:
            continue
        for line in table["rows"]:
            if _stands_for(row, line, _training(table, line)):
                for one in _figures(table, line, subset):
                    found.setdefault((one.metric, one.subset), one)
    return list(found.values())


def _subset(board: Board, table: Mapping[str, Any]) -> str | None:
    return SUBSETS.get(board.key.task, {}).get((table["task"], table["split"]))


def _training(table: Mapping[str, Any], line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return learning rate, epochs, batch and prefix length of a published row; empty where none are printed."""
    if table["model"] == "gpt2-large":
        return {}
    task = f"XSUM {table['split']}" if table["task"] == "XSUM-extrapolation" else table["task"]
    of_row = [known for known in paper()["training"] if (known["method"], known["task"]) == (line["method"], task)]
    return next((known for known in of_row if known.get("share") in (None, line.get("share"))), {})


def _figures(table: Mapping[str, Any], line: Mapping[str, Any], subset: str) -> Iterator[Published]:
    for i, score in enumerate(table["metrics"]):
        metric, factor = SCORES[table["task"]][score]
        yield Published(
            model=table["model"],
            method=line["method"],
            score=score,
            metric=metric,
            subset=subset,
            tables=table["tables"],
            printed={version: values[i] for version, values in line["values"].items()},
            factor=factor,
            training=_training(table, line),
            note=line.get("note", ""),
        )


def _stands_for(row: Summary, line: Mapping[str, Any], training: Mapping[str, Any]) -> bool:
    """Return whether a published row is of the same method and size as ours."""
    method, configs = row.cell.method, [run.trial.config for run in row.counted]
    if method in COUNTED:
        return bool(configs) and all(line["method"] == f"{COUNTED[method]}-{config['length']}" for config in configs)
    if METHODS.get(method) != line["method"].split("-")[0] and METHODS.get(method) != line["method"]:
        return False
    if method == "full_ft":
        return True
    if method == "ft_top2":
        return all(config.get("blocks", 2) == 2 and not config.get("token_table") for config in configs)
    if "share" in line:
        return _same_share(row.costs["stored_percent"].value, line["share"])
    return method == "prefix" and all(config["length"] == training.get("prefix_length") for config in configs)


def _same_share(percent: float | None, printed: str) -> bool:
    """Return whether a stored share is the printed one: it rounds to it, or is within 10 % of it."""
    number = printed.rstrip("%")
    decimals = len(number.partition(".")[2])
    return percent is not None and (
        round(percent, decimals) == float(number) or abs(percent - float(number)) <= 0.1 * float(number)
    )
