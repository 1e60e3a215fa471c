"""Charts -> SVG and PNG files, on white. Processes that draw import this file (helpers.py)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import vl_convert

from featherbench.reports.files import write

ENDINGS = ("svg", "png")


def write_images(name: str, spec: dict[str, Any], folder: Path) -> None:
    """Write NAME.svg and NAME.png of one chart."""
    # without a description of every mark, which is a third of the file: the tables have the numbers
    config = spec.get("config", {}) | {"aria": False}
    svg = _renumbered(vl_convert.vegalite_to_svg(spec | {"background": "white", "config": config}))
    write(folder / f"{name}.svg", svg)
    write(folder / f"{name}.png", vl_convert.svg_to_png(svg, scale=2))


def _renumbered(svg: str) -> str:
    """Number the clip paths from 0: Vega counts them over all charts of a process, so equal charts would differ."""
    numbers = {old: str(i) for i, old in enumerate(dict.fromkeys(re.findall(r'id="clip(\d+)"', svg)))}
    return re.sub(r'(?<=id="clip)\d+(?=")|(?<=url\(#clip)\d+(?=\))', lambda found: numbers.get(found[0], found[0]), svg)
