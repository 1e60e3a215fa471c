"""Fields of tables, strips and line charts -> HTML. A site has a million of them, so they are no part of the template.

Every text passes through `safe`, the one place where these are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from featherbench.reports.blocks import Entry
from featherbench.reports.charts.strip import Strip
from featherbench.reports.charts.trial_curves import HEIGHT, LEFT, RIGHT, WIDTH, Lines
from featherbench.reports.tables import trial_path
from featherbench.reports.text import safe


def row_html(row: Sequence[Entry], root: str) -> Markup:
    """Return the fields of a row, the first as its header; `root` leads from the page to the site's folder."""
    first, *others = row
    fields = [f'<th scope="row"{_exact(first)}>{_content(first, root)}</th>']
    fields += [f"<td{_exact(field)}>{_content(field, root)}</td>" for field in others]
    return Markup("".join(fields))


def field_html(field: Entry, root: str) -> Markup:
    """Return the content of a field."""
    return Markup(_content(field, root))


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
