"""Pages -> report.md. Everything passes through `text.markdown`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from featherbench.reports.blocks import (
    Block,
    Bullets,
    Code,
    Entry,
    Figure,
    Folded,
    Heading,
    Page,
    Samples,
    Table,
    Text,
    entries,
)
from featherbench.reports.charts.trial_curves import Lines
from featherbench.reports.samples import Sample
from featherbench.reports.text import markdown, visible


def markdown_report(title: str, pages: Iterable[Page]) -> str:
    """Return the pages one after the other, without their interactive parts."""
    lines = [f"# {markdown(title)}"]
    for page in pages:
        lines += [*heading(2, page.title), markdown(page.lead), ""]
        for block in page.blocks:
            lines += block_lines(block)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def block_lines(block: Block) -> list[str]:
    """Return a block; headings stand one level below those of the page."""
    match block:
        case Heading():
            return heading(block.level + 1, block.text)
        case Text():
            return ["", ("Caution: " if block.caution else "") + markdown(block.text), ""]
        case Bullets():
            return ["", *(f"- {markdown(text)}" for text in block.items), ""]
        case Code():
            return ["", *code_lines(block.text), ""]
        case Table():
            return table_lines(block)
        case Figure():
            image = [f"![{markdown(block.title)}](figures/{block.name}.svg)", "", markdown(block.caption), ""]
            return ["", *image]
        case Lines():
            return ["", markdown(block.label), ""]
        case Samples():
            return [line for sample in block.samples for line in sample_lines(sample)]
        case Folded():
            return [*heading(4, block.title), *(line for inner in block.blocks for line in block_lines(inner))]


def code_lines(text: str) -> list[str]:
    """Return an indented block, which no text can end; escaped lines where some viewer could take it for HTML."""
    lines = visible(text).split("\n")
    return [markdown(line) + "  " for line in lines] if "<" in text else [f"    {line}" for line in lines]


def table_lines(table: Table) -> list[str]:
    """Return a Markdown table between blank lines."""
    ruler = "|" + " --- |" * len(table.header)
    return ["", _line(table.header), ruler, *(_line(row) for row in table.rows), ""]


def heading(level: int, text: str) -> list[str]:
    """Return a heading with blank lines around it."""
    return ["", f"{'#' * level} {markdown(text)}", ""]


def sample_lines(sample: Sample) -> list[str]:
    """Return one table: source, first reference, every row's output."""
    rows = [entries("source", sample.source)]
    reference = Entry(text=sample.reference or "", note="" if sample.reference else "none stored")
    rows.append((Entry(text=f"reference 1 of {sample.references}"), reference))
    for output in sample.outputs:
        marks = [mark for mark, holds in (("truncated", output.truncated), ("empty", output.empty)) if holds]
        label = Entry(text=output.label, note=output.trial)
        rows.append((label, Entry(text=output.text or "", note=", ".join(marks))))
    header = (Entry(text=f"item {sample.item}", note=sample.tags), Entry(text="text"))
    return table_lines(Table(name="", title="", header=header, rows=tuple(rows)))


def _line(fields: Sequence[Entry]) -> str:
    return "| " + " | ".join(_field(entry) for entry in fields) + " |"


def _field(entry: Entry) -> str:
    text = "; ".join(dot.title for dot in entry.strip.dots) if entry.strip else entry.text
    return markdown(text) + (f" <br>({markdown(entry.note)})" if entry.note else "")
