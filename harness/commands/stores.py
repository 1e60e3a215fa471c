"""Commands about what a store holds: status, log, report, and its upkeep."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featherbench.harness.commands.terminal import (
    ENVIRONMENT,
    Json,
    Out,
    StoreUrl,
    mended_errors,
    open_store,
    say,
    show_json,
    store_to_read,
)

if TYPE_CHECKING:
    from featherbench.harness.status import Overview


def status(
    store: StoreUrl = None,
    out: Out = None,
    trials: Annotated[bool, typer.Option("--trials", help="A line for each trial, with its id and cause")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Again every two seconds, until no driver is left")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a sweep is: trials by cell and status, what they took, and when it will be done.

    Also from another terminal while it runs.

    Examples:

      featherbench status --out runs/quickstart

      featherbench status --out runs/quickstart --follow
    """
    from dataclasses import asdict

    from featherbench.harness.status import listed, overview

    with mended_errors():
        kept = store_to_read(store, out)
        if trials:
            rows = listed(kept)
            for row in [] if as_json else rows:
                cause = f"  {row['cause'].splitlines()[0]}" if row["cause"] else ""
                say(f"{row['trial']}  {row['phase']:<6} {row['number']:>3}  {row['status']:<10} {row['cell']}{cause}")
            if as_json:
                show_json(rows)
            return
        while True:
            found = overview(kept)
            if as_json:
                show_json({**asdict(found), "spend": found.spend})
            else:
                _show_overview(found)
            if not (follow and found.drivers):
                return
            time.sleep(2)


def _show_overview(found: Overview) -> None:
    say(f"{'cell':<48} {'done':>11} {'running':>8} {'failed':>7} {'diverged':>9} {'hours':>8}")
    for c in found.cells:
        done = f"{c.ok + c.diverged + c.failed}/{c.total}"
        say(f"{c.cell:<48} {done:>11} {c.running:>8} {c.failed:>7} {c.diverged:>9} {c.seconds / 3600:>8.2f}")
    left = "" if found.seconds_left is None else f", about {found.seconds_left / 3600:.1f} h left"
    say(f"{found.drivers} drivers at work, {found.spend / 3600:.2f} worker-hours spent{left}")


def log(
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning")],
    store: StoreUrl = None,
    out: Out = None,
) -> None:
    """Show what the worker of a trial said: stages, warnings and errors, and how each attempt ended.

    Example:  featherbench log 3f2a --out runs/quickstart
    """
    from featherbench.harness.status import log_of
    from featherbench.harness.store import sqlite_path

    with mended_errors():
        kept = store_to_read(store, out)
        path = sqlite_path(kept.url)
        for line in log_of(kept, trial, out or (path.parent if path else None)):
            say(line)


def upgrade(store: StoreUrl = None, out: Out = None) -> None:
    """Bring an older store up to date; of a file, a copy of the old one stays beside it.

    Example:  featherbench upgrade --out runs/quickstart
    """
    with mended_errors():
        from featherbench.harness.store import StoreError

        if not (store or out):
            raise StoreError("which store? Give --out FOLDER or --store URL.")
        if out and not store and not (out / "store.sqlite").exists():
            raise StoreError(f"there is no store at {out / 'store.sqlite'}. Give the --out folder of a run.")
        say(f"{open_store(store, out or Path(), create=True).shown_url} is up to date")


def merge(
    into: Annotated[str, typer.Argument(metavar="A", help="Run folder or database URL that gets all the results")],
    sources: Annotated[list[str], typer.Argument(metavar="B...", help="Run folders or database URLs to add")],
    as_json: Json = False,
) -> None:
    """Join stores: A gets every plan, search and trial of B. What A has already stays as it is.

    Deltas are copied as well where both are run folders.

    Example:  featherbench merge runs/all runs/monday runs/tuesday
    """
    from featherbench.harness.merge import copy_deltas
    from featherbench.harness.merge import merge as joined

    report: list[dict[str, Any]] = []
    with mended_errors():
        target = open_store(into if "://" in into else None, Path(into), create=True)
        for name in sources:
            source = open_store(name if "://" in name else None, Path(name), create=False)
            found = joined(target, source)
            copied = 0 if "://" in into + name else copy_deltas(target, Path(name), Path(into), found.added)
            report.append(
                {
                    "from": source.shown_url,
                    "added": len(found.added),
                    "both": found.both,
                    "differ": found.differ,
                    "deltas": copied,
                }
            )
    if as_json:
        show_json(report)
    for row in [] if as_json else report:
        say(
            f"{row['from']}: {row['added']} results added with {row['deltas']} deltas; {row['both']} were there already"
        )
        if row["differ"]:
            say(
                f"  of them {len(row['differ'])} with other scores, those of {into} stay: {', '.join(row['differ'][:5])}"
            )


def report(
    store: StoreUrl = None,
    run_folder: Annotated[Path | None, typer.Option("--out", help="Folder of the run to report on")] = None,
    destination: Annotated[Path | None, typer.Option("-o", help="Folder to write to; default: RUN/report")] = None,
) -> None:
    """Write the report of a store: a site that opens without a network, its tables and figures as files, JSON.

    Example:  featherbench report --out runs/quickstart -o report
    """
    with mended_errors():
        from featherbench.harness.store import sqlite_path
        from featherbench.reports.site import write_report

        kept = store_to_read(store, run_folder)
        folder = run_folder or (sqlite_path(kept.url) or Path("runs/x")).parent
        try:
            first, *others = write_report(kept, destination or folder / "report")
            say(f"{first} ({len(others)} further files beside it)")
        except ValueError as error:
            say(f"error: {error}", error=True)
            raise typer.Exit(ENVIRONMENT) from None


def gc(
    store: StoreUrl = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of a run; without it: only the cache folder")
    ] = None,
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, metavar="DAYS", help="Remove token ids not used for so long")
    ] = 30.0,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Remove downloaded data not used for so long, too")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no trial needs any more: checkpoints of kept results, frozen work, unknown deltas, old token ids.

    Results, reports, named deltas and backbones stay. Refuses while a run works in the folder.

    Example:  featherbench gc --out runs/quickstart --dry-run
    """
    with mended_errors():
        from featherbench.harness import retention
        from featherbench.harness.store import StoreError, sqlite_path
        from featherbench.tasks.files import cache_folder

        cache = cache_folder().absolute()
        path = sqlite_path(store) if store else None
        folder = out or (path.parent if path else None)
        if store and folder is None:
            raise StoreError("which folder? Give --out FOLDER of the run beside --store.")
        found = retention.leftovers_of_cache(cache, older_than, downloads)
        if folder is not None:
            folder = folder.absolute()
            kept = open_store(store, folder, create=False)
            if kept.num_drivers():
                raise StoreError(f"a run works on {kept.shown_url}; wait for its end, then say it again.")
            found += retention.leftovers_of_run(folder, kept)
        if not dry_run:
            retention.remove(found)
    total = sum(leftover.bytes for leftover in found)
    if as_json:
        rows = [{"path": str(leftover.path), "bytes": leftover.bytes, "why": leftover.why} for leftover in found]
        show_json({"dry_run": dry_run, "bytes": total, "removed": rows})
        return
    for leftover in found:
        say(f"{retention.shown(leftover.bytes):>10}  {leftover.path}  {leftover.why}")
    verb = "would be removed" if dry_run else "removed"
    say(f"{len(found)} {verb}, {total:,} bytes ({retention.shown(total)})")
