"""Reads the results database, writes files; imports no torch. The entry point is `reports.page.write_report`.

The way data flows: read.py (store -> runs) -> aggregate.py, losses.py, samples.py, search.py, provenance.py
(runs -> plain records) -> tables.py, figures.py (records -> tables, charts) -> markdown.py, sheets.py, page.py (files).
statistics.py: the protocol's formulas, on arrays.
"""
