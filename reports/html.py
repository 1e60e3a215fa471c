"""Pages -> HTML. Only texts of this package are trusted; everything else is escaped. Nothing is loaded from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import vl_convert

from featherbench.reports.blocks import Figure, Page, Spec
from featherbench.reports.fields import bounded, filters, head_html, lines_html, rows_html
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


def html(page: Page, menu: Sequence[Link]) -> str:
    """Return the page as HTML."""
    return _template().render(
        page=page,
        menu=menu,
        root="../" * page.path.count("/"),
        charts=any(isinstance(block, Figure) for block in page.all_blocks()),
        data=(*DATA, page.record_path) if page.record else DATA,
    )


def write_pages(pages: Sequence[Page], menu: Sequence[Link], out: Path) -> None:
    """Write pages, and what lies beside them, into the site's folder."""
    for page in pages:
        write(out / page.path, html(page, menu))
        if page.record:
            write(out / page.record_path, page.record)


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
        "head_html": head_html,
        "rows_html": rows_html,
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
