"""featherbench: which lightweight tuning method should I use?

Exit codes: 0 all done, 1 some trials failed, 2 usage or plan error, 3 environment, 4 stopped by a
limit of time, 130 interrupted and resumable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from featherbench.harness.commands import answers, outputs, setup, stores, sweeps, try_out
from featherbench.harness.commands.terminal import (
    ENVIRONMENT,
    FAILED,
    INTERRUPTED,
    STOPPED,
    USAGE,
    VERBOSE,
    show_traceback,
    silence_warnings,
)

__all__ = ["ENVIRONMENT", "FAILED", "INTERRUPTED", "STOPPED", "USAGE", "app", "main"]

# libraries read these when they are imported
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# heavy imports (torch, transformers, ray) stand inside the commands: --help must answer at once


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"featherbench {version('featherbench')}")
        raise typer.Exit


class VerboseAnywhere(TyperGroup):
    """Takes -v before and behind the command's name: people add it at the end of a line that they say again."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move -v to the front; what follows a lone -- is text."""
        end = args.index("--") if "--" in args else len(args)
        verbose = [word for word in args[:end] if word in ("-v", "--verbose")]
        return super().parse_args(ctx, verbose + [word for word in args[:end] if word not in verbose] + args[end:])


app = typer.Typer(
    cls=VerboseAnywhere,
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what libraries warn of and what workers print, too")
    ] = False,
) -> None:
    if verbose:
        os.environ[VERBOSE] = "1"
    if VERBOSE not in os.environ:
        silence_warnings()


COMMANDS = (
    setup.list_,
    setup.info,
    setup.doctor,
    setup.prepare,
    try_out.try_,
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
