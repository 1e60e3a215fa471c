"""featherbench: which lightweight tuning method should I use?

Exit codes: 0 all done, 1 some trials failed, 2 usage or plan error, 3 environment, 4 stopped by a
limit of time, 130 interrupted and resumable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from featherbench.harness.commands import answers, outputs, setup, stores, sweeps
from featherbench.harness.commands.terminal import ENVIRONMENT, FAILED, INTERRUPTED, STOPPED, USAGE, show_traceback

__all__ = ["ENVIRONMENT", "FAILED", "INTERRUPTED", "STOPPED", "USAGE", "app", "main"]

# libraries read these when they are imported
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# heavy imports (torch, transformers, ray) stand inside the commands: --help must answer at once


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"featherbench {version('featherbench')}")
        raise typer.Exit


app = typer.Typer(
    help="Which lightweight tuning method should I use, for this model, task, amount of data and parameter budget?\n\n"
    "Start with:  featherbench run quickstart   then open runs/quickstart/report/index.html",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version", callback=_print_version)
    ] = False,
) -> None:
    pass


COMMANDS = (
    setup.list_,
    setup.info,
    setup.doctor,
    setup.prepare,
    sweeps.plan,
    sweeps.run,
    sweeps.retry,
    stores.status,
    stores.log,
    stores.upgrade,
    stores.merge,
    outputs.inputs,
    outputs.score,
    outputs.generate,
    stores.report,
    answers.compare,
    answers.claim,
    outputs.export,
    outputs.rerun,
    stores.gc,
    setup.cp,
    setup.test,
)
for command in COMMANDS:
    app.command(command.__name__.rstrip("_"))(command)


def main() -> None:
    """Entry point; an interrupt before a command starts is one as well."""
    command: Callable[[], None] = app
    sys.excepthook = show_traceback
    try:
        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
