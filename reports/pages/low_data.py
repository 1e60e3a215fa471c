"""low-data.html: scores by number of training pairs, the draw of the pairs being the unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from featherbench.harness.records import Trial
from featherbench.reports import read
from featherbench.reports.blocks import (
    Block,
    Entry,
    Figure,
    Folded,
    Heading,
    Page,
    Samples,
    Table,
    Text,
    cautions,
    how_to_read,
)
from featherbench.reports.boards import ALL, Board, Summary
from featherbench.reports.charts.parts import NOT_DRAWN, row_colours
from featherbench.reports.charts.training_sizes import BySize, training_sizes_chart
from featherbench.reports.comparisons import difference, mean_difference
from featherbench.reports.estimates import (
    HOW_TO_READ,
    difference_entry,
    interval_entry,
    missing,
    reference,
)
from featherbench.reports.licence import attribution, why_not_shown
from featherbench.reports.read import Run
from featherbench.reports.report import Report
from featherbench.reports.samples import Output, Sample, choose
from featherbench.reports.tables import board_name, board_path, configuration_text, count_entry
from featherbench.reports.text import MISSING, number_text

INPUTS = 3
"""Inputs whose outputs are shown at each size"""
LEAD = "What each row scores when few labelled examples are there, and what the next ones bring."
DRAWS = (
    "The unit is the draw of the training pairs: trials on one draw are averaged first, and intervals are over draws. A "
    "smaller size of a draw is the beginning of the larger one, so sizes are not independent: the difference over all "
    "sizes is averaged within each draw before anything else (protocol 1.2)."
)
CONFIGURATIONS = (
    "Every size has a search of its own: a line of the chart is a row as it is tuned at each size, and may join several "
    "configurations."
)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Boards that differ in their size only, smallest first."""

    boards: tuple[Board, ...]
    metric: str
    labels: tuple[str, ...]
    """Rows of any size, in the order of the plans"""

    def row(self, board: Board, label: str) -> Summary | None:
        """Return the row of that label at one size."""
        return next((row for row in board.rows if row.label == label), None)

    @property
    def unit(self) -> str:
        """What the intervals are over: "draw", or "seed" where all trials share one draw."""
        units = {row.unit for board in self.boards for row in board.rows if row.counted and not row.deterministic}
        return "draw" if "draw" in units else "seed"


def page(report: Report) -> Page | None:
    """Return the page; None if nothing was tuned at two sizes."""
    found = series(report.boards)
    if not found:
        return None
    blocks = [how_to_read(DRAWS, HOW_TO_READ), *(block for one in found for block in _series(report, one))]
    return Page(path="low-data.html", title="Low data", lead=LEAD, blocks=tuple(blocks))


def series(boards: Sequence[Board]) -> list[Series]:
    """Return the boards with a size, together where only the size differs; those that stand alone are left out."""
    grouped: dict[object, list[Board]] = {}
    for board in boards:
        if board.key.size is not None and board.primary is not None:
            grouped.setdefault((replace(board.key, size=None), board.primary), []).append(board)
    return [
        Series(
            boards=tuple(sorted(group, key=lambda board: board.key.size or 0)),
            metric=group[0].primary or "",
            labels=tuple(dict.fromkeys(row.label for board in group for row in board.rows)),
        )
        for group in grouped.values()
        if len(group) > 1
    ]


def _series(report: Report, found: Series) -> Iterator[Block]:
    key, name = found.boards[0].key, "sizes-" + board_name(found.boards[0])
    title = f"{key.backbone} · {key.task}.{key.evaluated}"
    yield Heading(level=2, text=title)
    if told := _told(found):
        yield cautions(told)
    yield labelled_table(report, found, f"labelled-{name}", title)
    drawn = _drawn(found)
    if drawn:
        palette = row_colours([row for board in found.boards for row in board.rows])
        spec = training_sizes_chart(drawn, found.metric, found.unit, palette)
        caption = (
            f"Means over {found.unit}s with 95 % bands, for new inputs where the score allows it; rows without a band have "
            f"fewer than three units or no randomness. A click on a name in the legend brings its row forward. {NOT_DRAWN}"
        )
        yield Figure(
            name=f"curves-{name}", title=f"{found.metric} by training {key.size_unit}s", spec=spec, caption=caption
        )
    yield scores_table(found, f"scores-{name}", title)
    chosen = configurations_table(found, f"configurations-{name}", title)
    yield Folded(title="Configurations by size", blocks=(Text(text=CONFIGURATIONS), chosen))
    yield differences_table(found, f"differences-{name}", title)
    yield from _samples(report, found)


def _told(found: Series) -> list[str]:
    """Return the cautions of the boards, equal ones once with their sizes."""
    told: dict[str, list[str]] = {}
    for board in found.boards:
        for caution in board.cautions:
            told.setdefault(caution.text, []).append(str(board.key.size))
    lines = [f"{text} (size {', '.join(sizes)})" for text, sizes in told.items()]
    if found.unit == "seed":
        lines.insert(0, "no size has several draws, so intervals are over seeds and hold for these pairs only")
    return lines


# --- what a size means ------------------------------------------------------------------------------------------------


def labelled_table(report: Report, found: Series, name: str, title: str) -> Table:
    """Return how many labelled examples each size takes: training and validation together, and in the search."""
    key, by_cell = found.boards[0].key, dict[str, list[Trial]]()
    for run in report.contents.runs:
        if run.phase == "search" and (run.cell.backbone, run.cell.task) == (key.backbone, key.task):
            by_cell.setdefault(run.cell.id, []).append(run.trial)
    rows = []
    for board in found.boards:
        searched = [trial for row in board.rows for trial in by_cell.get(row.cell.id, ())]
        final = [run.trial for row in board.rows for run in row.counted if run.trial.steps]
        rows.append(
            (
                Entry(text=f"{board.key.size:,}", value=board.key.size, link=board_path(board)),
                _amount({trial.train.size for trial in final}),
                _amount({trial.validation.size for trial in final}),
                _amount({_labelled(trial) for trial in final}),
                count_entry(len({trial.train.draw for trial in final} - {None})),
                _search_entry(searched),
                _passes(final),
            )
        )
    unit = key.size_unit
    header = (
        Entry(text="size"),
        Entry(text=f"training {unit}s"),
        Entry(text="validation pairs", note="for the checkpoint"),
        Entry(text="labelled in all", note="for one trial"),
        Entry(text="draws"),
        Entry(text="labelled in the search", note="other draws than the final ones"),
        Entry(text="passes over the training data", note="steps × batch size / size; the final phase"),
    )
    return Table(name=name, title=f"What a size means: {title}", header=header, rows=tuple(rows))


def _labelled(trial: Trial) -> int | None:
    """Return training and validation examples together; None where one is a whole split, whose size is not stored."""
    if trial.train.size is None or trial.validation.size is None:
        return None
    return trial.train.size + trial.validation.size


def _passes(final: Sequence[Trial]) -> Entry:
    """Return how often trials saw each of their training pairs, at their last step."""
    pairs = [(trial, trial.train.size) for trial in final if trial.train.unit == "pair"]
    found = sorted({trial.steps * trial.settings.batch_size / size for trial, size in pairs if size})
    if not found:
        return Entry(text=MISSING)
    text = " to ".join(dict.fromkeys(number_text(value) for value in (found[0], found[-1])))
    return Entry(text=text, value=found[-1], parts={"fewest": found[0]})


def _amount(found: set[int | None]) -> Entry:
    known = sorted(number for number in found if number is not None)
    if not known:
        return Entry(text="whole split" if found else MISSING, note="its size is not stored" if found else "no trial")
    text = f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"
    return Entry(text=text, value=known[-1], note="some trials: whole split" if None in found else "")


def _search_entry(searched: Sequence[Trial]) -> Entry:
    if not searched:
        return missing("no search")
    draws = {trial.train.draw for trial in searched} - {None}
    each = _amount({_labelled(trial) for trial in searched})
    return Entry(text=each.text, value=each.value, note=f"a draw; {len(draws)} draw{'s' * (len(draws) != 1)}")


# --- scores -----------------------------------------------------------------------------------------------------------


def _drawn(found: Series) -> list[BySize]:
    """Return the rows that have a score at some size, but default configurations beside rows with a search."""
    rows = []
    defaults = {row.label for board in found.boards for row in board.rows if row.is_default}
    for label in (label for label in found.labels if label not in defaults):
        scores = []
        for board in found.boards:
            row = found.row(board, label)
            if row is not None and row.scores[found.metric, ALL].mean is not None:
                scores.append((board.key.size or 0, row.scores[found.metric, ALL]))
        if scores:
            rows.append(BySize(label=label, scores=tuple(scores)))
    return rows


def scores_table(found: Series, name: str, title: str) -> Table:
    """Return the primary score of every row at every size."""
    better = "higher is better" if found.boards[0].higher_is_better_in(found.metric) else "lower is better"
    header = (Entry(text="row", note=f"{found.metric}, {better}"), *_sizes(found))
    rows = []
    for label in found.labels:
        here = [found.row(board, label) for board in found.boards]
        fields = [
            missing("not in the plan") if r is None else interval_entry(r.scores[found.metric, ALL]) for r in here
        ]
        rows.append((Entry(text=label), *fields))
    return Table(name=name, title=f"Scores by size: {title}", header=header, rows=tuple(rows))


def configurations_table(found: Series, name: str, title: str) -> Table:
    """Return what the final phase used of every row at every size."""
    rows = []
    for label in found.labels:
        here = [found.row(board, label) for board in found.boards]
        used = [dict.fromkeys(configuration_text(run.trial) for run in row.counted) if row else {} for row in here]
        fields = [Entry(text="\n".join(texts) or MISSING, long=True) for texts in used]
        others = len({tuple(texts) for texts in used if texts})
        rows.append((Entry(text=label, note=f"{others} configurations" if others > 1 else ""), *fields))
    header = (Entry(text="row"), *_sizes(found))
    return Table(name=name, title=f"Configurations by size: {title}", header=header, rows=tuple(rows))


def _sizes(found: Series) -> list[Entry]:
    return [
        Entry(text=f"{b.key.size:,} {b.key.size_unit}s", value=b.key.size, link=board_path(b)) for b in found.boards
    ]


def differences_table(found: Series, name: str, title: str) -> Table:
    """Return the paired difference to full fine-tuning at every size, and averaged over sizes within each draw."""
    rows = []
    for label in found.labels:
        pairs = [(board, found.row(board, label), reference(board)) for board in found.boards]
        whole = [
            (board, row, against)
            for board, row, against in pairs
            if row and against and not _alone(found, row, against)
        ]
        fields = [_difference(found, board, row, against) for board, row, against in pairs]
        own = any(row is not None and row is against for _, row, against in pairs)
        rows.append((Entry(text=label), *fields, missing("the reference") if own else _mean_difference(found, whole)))
    header = (
        Entry(text="row", note=f"{found.metric}: row − full fine-tuning, paired by {found.unit}"),
        *_sizes(found),
        Entry(text="mean over sizes", note=f"within each {found.unit}"),
    )
    return Table(name=name, title=f"Differences to full fine-tuning: {title}", header=header, rows=tuple(rows))


def _alone(found: Series, row: Summary, against: Summary) -> str:
    """Return why a row has no difference; empty if it has."""
    if row is against:
        return "the reference"
    for one in (row, against):
        if one.scores[found.metric, ALL].mean is None:
            return f"{one.label}: {one.scores[found.metric, ALL].note}"
    return ""


def _difference(found: Series, board: Board, row: Summary | None, against: Summary | None) -> Entry:
    if row is None or against is None:
        return missing("not in the plan" if row is None else "no trial of full fine-tuning here")
    if reason := _alone(found, row, against):
        return missing(reason)
    return difference_entry(difference(board, row, against, metric=found.metric))


def _mean_difference(found: Series, pairs: Sequence[tuple[Board, Summary, Summary]]) -> Entry:
    if len(pairs) < 2:
        return missing("fewer than two sizes")
    entry = difference_entry(mean_difference(pairs, metric=found.metric))
    if len(pairs) == len(found.boards):
        return entry
    sizes = ", ".join(f"{board.key.size:,}" for board, _, _ in pairs)
    return replace(entry, note="; ".join(part for part in (f"over {sizes} only", entry.note) if part))


# --- the same inputs at each size ---------------------------------------------------------------------------------------


def _samples(report: Report, found: Series) -> Iterator[Block]:
    runs = [run for board in found.boards for row in board.rows for run in row.counted]
    if not runs:
        return
    yield Heading(level=3, text="The same inputs at each size")
    if refusal := why_not_shown(runs[0].trial):
        yield Text(text=refusal)
        return
    shown = samples(report, found)
    if not shown:
        yield Text(text="No trial kept its outputs.")
        return
    chosen = f"Inputs spread evenly over the evaluated items, none chosen by hand; of each row and size the first {found.unit}."
    yield Text(text=f"{chosen} {attribution(runs[0].trial)}")
    yield Samples(samples=tuple(shown))


def samples(report: Report, found: Series) -> list[Sample]:
    """Return up to INPUTS inputs with the output of every row at every size; what is not tuned stands there once."""
    shown: list[tuple[str, Run]] = []
    for label in found.labels:
        for board in found.boards:
            row = found.row(board, label)
            run = _first(row) if row else None
            if row is not None and run is not None:
                shown.append(
                    (label if row.deterministic else f"{label}, {board.key.size:,} {board.key.size_unit}s", run)
                )
                if row.deterministic:
                    break
    if not shown:
        return []
    trial = shown[0][1].trial
    ids = list(dict.fromkeys(run.trial_id for _, run in shown))
    predicted = read.predicted_items(report.store, ids)
    common = set.intersection(*predicted.values()) or set.union(*predicted.values())
    tags = read.item_tags(report.store, trial)
    chosen = choose(common, {item: tags.get(item, {}).get("seen", "") for item in common}, INPUTS)
    texts = read.item_texts(report.store, trial, chosen)
    outputs = read.predictions(report.store, ids, chosen)
    result = []
    for item in chosen:
        source, references = texts.get(item, ("(the store does not hold this input)", []))
        result.append(
            Sample(
                item=item,
                tags=", ".join(f"{name}: {value}" for name, value in sorted(tags.get(item, {}).items())),
                source=source,
                reference=references[0] if references else None,
                references=len(references),
                outputs=tuple(_output(label, run, outputs.get((run.trial_id, item))) for label, run in shown),
            )
        )
    return result


def _first(row: Summary) -> Run | None:
    """Return the first finished final trial that kept outputs."""
    return next((run for run in sorted(row.counted, key=lambda run: run.number) if run.outputs.kept), None)


def _output(label: str, run: Run, found: tuple[str, bool] | None) -> Output:
    if found is None:
        return Output(label=label, trial=f"{run.name}: no output kept", text=None, truncated=False, empty=False)
    text, truncated = found
    return Output(label=label, trial=run.name, text=text, truncated=truncated, empty=not text.strip())
