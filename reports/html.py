"""Pages -> HTML. Only texts of this package are trusted; everything else is escaped. Nothing is loaded from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import vl_convert

from featherbench.reports.blocks import Figure, Page, Spec, Table
from featherbench.reports.fields import field_html, lines_html, row_html
from featherbench.reports.files import write
from featherbench.reports.sheets import ENDINGS
from featherbench.reports.text import visible

HERE = Path(__file__).parent
SHARED = ("site.css", "site.js", "charts.js")
"""Files of this folder that lie beside the pages"""
DATA = ("report.md", "leaderboard.json", "cells.csv", "trials.csv", "provenance.json")
"""Files about everything, named on every page"""


@dataclass(frozen=True, kw_only=True)
class Link:
    """An entry of the menu."""

    path: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a table can be filtered by."""

    name: str
    options: tuple[str, ...]
    chosen: tuple[int, ...]
    """Which option each row has"""


def html(page: Page, menu: Sequence[Link]) -> str:
    """Return the page as HTML."""
    return _template().render(
        page=page,
        menu=menu,
        root="../" * page.path.count("/"),
        charts=any(isinstance(block, Figure) for block in page.all_blocks()),
        data=DATA,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "filters": filters,
        "bounded": bounded,
        "field_html": field_html,
        "row_html": row_html,
        "lines_html": lines_html,
        "on_page": on_page,
        "endings": ENDINGS,
    }
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment.get_template("page.html.j2")


def on_page(spec: Spec) -> Spec:
    """Return a chart as wide as its container, without title (the page has a heading) and colours (charts.js)."""
    kept = {key: value for key, value in spec.items() if key not in ("title", "config")}
    return kept | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}, "background": None}


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


@cache
def library() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed (BSD-3-Clause)."""
    licence = "// Vega, Vega-Lite and Vega-Embed: BSD-3-Clause, University of Washington Interactive Data Lab\n"
    return licence + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def write_shared(out: Path, charts: bool) -> list[Path]:
    """Write the style and the scripts that pages share; the large library only if there is a chart."""
    texts = {name: (HERE / name).read_text(encoding="utf-8") for name in SHARED if charts or name != "charts.js"}
    if charts:
        texts["vega.js"] = library()
    for name, text in texts.items():
        write(out / name, text)
    return [out / name for name in texts]
