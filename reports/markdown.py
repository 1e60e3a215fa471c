"""Tables and texts -> report.md. Everything from the store passes through `text.markdown`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featherbench.reports.samples import Sample
from featherbench.reports.tables import Entry, Table
from featherbench.reports.text import markdown as markdown


def table_lines(table: Table | None) -> list[str]:
    """Return a Markdown table between blank lines; nothing for no table."""
    if table is None:
        return []
    ruler = "|" + " --- |" * len(table.header)
    return ["", _line(table.header), ruler, *(_line(row) for row in table.rows), ""]


def heading(level: int, text: str) -> list[str]:
    """Return a heading with blank lines around it."""
    return ["", f"{'#' * level} {markdown(text)}", ""]


def bullets(texts: Iterable[str]) -> list[str]:
    """Return one list item per text."""
    return [f"- {markdown(text)}" for text in texts]


def sample_lines(samples: Sequence[Sample]) -> list[str]:
    """Return one table per input: source, first reference, every row's output."""
    lines: list[str] = []
    for sample in samples:
        rows = [(Entry(text="source"), Entry(text=sample.source))]
        reference = Entry(text=sample.reference or "", note="" if sample.reference else "none stored")
        rows.append((Entry(text=f"reference 1 of {sample.references}"), reference))
        for output in sample.outputs:
            marks = [mark for mark, holds in (("truncated", output.truncated), ("empty", output.empty)) if holds]
            rows.append(
                (Entry(text=output.label, note=output.trial), Entry(text=output.text or "", note=", ".join(marks)))
            )
        header = (Entry(text=f"item {sample.item}", note=sample.tags), Entry(text="text"))
        lines += table_lines(Table(title="", header=header, rows=tuple(rows)))
    return lines


def _line(entries: Sequence[Entry]) -> str:
    return "| " + " | ".join(_field(entry) for entry in entries) + " |"


def _field(entry: Entry) -> str:
    text = "; ".join(dot.title for dot in entry.strip.dots) if entry.strip else entry.text
    return markdown(text) + (f" <br>({markdown(entry.note)})" if entry.note else "")
