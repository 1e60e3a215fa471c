"""Rows and filters of tables, strips and line charts -> HTML. A site has a million of them, so they are no part of the template.

Every text passes through `safe`, the one place where these are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from featherbench.reports.blocks import Entry, Table
from featherbench.reports.charts.strip import Strip
from featherbench.reports.charts.trial_curves import HEIGHT, LEFT, RIGHT, WIDTH, Lines
from featherbench.reports.tables import trial_path
from featherbench.reports.text import safe


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a table can be filtered by."""

    name: str
    options: tuple[str, ...]
    chosen: tuple[int, ...]
    """Which option each row has"""


def filters(table: Table) -> list[Filter]:
    """Return the facets in which rows differ, options in the order of the rows."""
    found = []
    for name in table.facets[0] if table.facets else ():
        values = [facets[name] for facets in table.facets]
        options = {value: i for i, value in enumerate(dict.fromkeys(values))}
        if len(options) > 1:
            found.append(Filter(name=name, options=tuple(options), chosen=tuple(options[value] for value in values)))
    return found


def bounded(table: Table) -> int:
    """Return the number of the column that the reader can bound from above."""
    return [field.text for field in table.header].index(table.at_most)


def head_html(header: Sequence[Entry], root: str) -> Markup:
    """Return the row of column headers; `root` leads from the page to the site's folder."""
    fields = "".join(f'<th scope="col">{_content(field, root)}</th>' for field in header)
    return Markup(f"<tr>{fields}</tr>")


def rows_html(rows: Sequence[Sequence[Entry]], filters: Sequence[Filter], root: str) -> Markup:
    """Return the rows, the first field of each as its header, with the options that they have in the filters."""
    chosen = [" ".join(map(str, options)) for options in zip(*(one.chosen for one in filters), strict=True)]
    marks = [f' data-facets="{options}"' for options in chosen] or [""] * len(rows)
    return Markup("\n".join(f"<tr{mark}>{_row(row, root)}</tr>" for mark, row in zip(marks, rows, strict=True)))


def _row(row: Sequence[Entry], root: str) -> str:
    first, *others = row
    fields = [f'<th scope="row"{_exact(first)}>{_content(first, root)}</th>']
    fields += [f"<td{_exact(field)}>{_content(field, root)}</td>" for field in others]
    return "".join(fields)


def _exact(field: Entry) -> str:
    """Return the attribute by which a number is sorted."""
    return f' data-value="{field.value!r}"' if isinstance(field.value, int | float) else ""


def _content(field: Entry, root: str) -> str:
    shown: str
    if field.strip:
        shown = strip_html(field.strip, root)
    elif field.link:
        shown = f'<a href="{root}{safe(field.link)}">{safe(field.text)}</a>'
    elif field.long:
        shown = f'<span class="long" dir="auto">{safe(field.text)}</span>'
    else:
        shown = f"<span>{safe(field.text)}</span>"
    return f"{shown}<small>{safe(field.note)}</small>" if field.note else shown


def strip_html(strip: Strip, root: str) -> Markup:
    """Return the strip as SVG; every dot leads to its trial, by keyboard the tables of trials do."""
    parts = [
        f'<svg class="strip" width="150" height="24" viewBox="0 0 150 24" role="img" aria-label="{safe(strip.label)}">',
        '<line class="axis" x1="2" x2="148" y1="12" y2="12"/>',
    ]
    if strip.low is not None and strip.high is not None:
        parts.append(f'<line class="interval" x1="{strip.low}" x2="{strip.high}" y1="12" y2="12"/>')
        ends = [at for at, cut in ((strip.low, strip.cut_low), (strip.high, strip.cut_high)) if not cut]
        parts += [f'<line class="end" x1="{at}" x2="{at}" y1="8" y2="16"/>' for at in ends]
    parts.append(f'<line class="mean" x1="{strip.mean}" x2="{strip.mean}" y1="3" y2="21"/>')
    for dot in strip.dots:
        style, path = "dot diverged" if dot.diverged else "dot", trial_path(dot.trial)
        circle = f'<circle class="{style}" cx="{dot.x}" cy="12" r="3.5"><title>{safe(dot.title)}</title></circle>'
        parts.append(f'<a href="{root}{path}" tabindex="-1">{circle}</a>' if path else circle)
    return Markup("".join([*parts, "</svg>"]))


def lines_html(chart: Lines) -> Markup:
    """Return the chart as SVG."""
    ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}"'
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{safe(chart.label)}">']
    for tick in chart.y:
        parts.append(f'<line class="axis" {ends} y1="{tick.at}" y2="{tick.at}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{tick.at}" text-anchor="end" dominant-baseline="central">{tick.text}</text>'
        )
    parts += [f'<text x="{tick.at}" y="{HEIGHT - 6}" text-anchor="middle">{tick.text}</text>' for tick in chart.x]
    if chart.rule:
        at, x = chart.rule.at, WIDTH - RIGHT - 2
        parts.append(f'<line class="rule" {ends} y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="told" x="{x}" y="{at - 5}" text-anchor="end">{safe(chart.rule.text)}</text>')
    parts += [
        f'<polyline class="line line-{i}" points="{line.points}"/>' for i, line in enumerate(chart.lines, start=1)
    ]
    if chart.mark:
        across, up, title = chart.mark
        parts.append(f'<circle class="mark" cx="{across}" cy="{up}" r="4.5"><title>{safe(title)}</title></circle>')
    return Markup("".join([*parts, "</svg>"]))
