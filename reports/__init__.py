"""Reads the results database, writes files; imports no torch. The entry point is `reports.site.write_report`.

The way data flows: read.py (store -> runs) -> aggregate.py (runs -> boards.py), losses.py, samples.py, search.py, provenance.py
(plain records) -> report.py (all of it, once) -> pages/ (records -> blocks.py), with tables.py and
charts/ -> html.py, markdown.py, sheets.py, leaderboard_json.py -> site.py (files, a part of them by helpers.py).
statistics.py: the protocol's formulas, on arrays.
"""
