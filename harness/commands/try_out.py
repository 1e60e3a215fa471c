"""`featherbench try`: a small fair comparison from a few options, run as the plan that it writes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from featherbench.harness.commands import sweeps
from featherbench.harness.commands.completion import complete_backbones, complete_methods, complete_tasks
from featherbench.harness.commands.terminal import (
    Json,
    expanded_plan,
    folder_of,
    mended_errors,
    quiet_libraries,
    say,
    show_json,
)

if TYPE_CHECKING:
    from featherbench.harness.try_out import Data
    from featherbench.methods.base import Anatomy


def try_(
    model: Annotated[
        str, typer.Option(help="A backbone: its name, a hub id or a folder", autocompletion=complete_backbones)
    ],
    methods: Annotated[
        str,
        typer.Option(
            help="Methods to compare, with commas; the reference is the first in the order of `list methods`",
            autocompletion=complete_methods,
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="A .jsonl, .csv or .tsv file of pairs, also with .gz")] = None,
    source: Annotated[str, typer.Option(help="Column of --data with the inputs")] = "source",
    references: Annotated[str, typer.Option(help="Column of --data with a text, or a list of texts")] = "references",
    score: Annotated[
        list[str] | None, typer.Option(help="Score of --data; repeatable, the first one chooses and ranks [bleu]")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="A known task in place of --data", autocompletion=complete_tasks)
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Stored parameters as a share of the backbone, e.g. 0.1%")] = None,
    size: Annotated[str, typer.Option(help="Training pairs: a number, a percentage of the inputs, or full")] = "full",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Final trials of each method")] = 5,
    search: Annotated[int, typer.Option(min=0, max=100, help="Configurations tried for each method")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Most training steps of a trial")] = 100,
    test: Annotated[int | None, typer.Option(min=1, help="Test items [all, at most 128]")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run; default: runs/try-NAME-OF-DATA")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start without asking")] = False,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Write and print the plan, run nothing")] = False,
    as_json: Json = False,
) -> None:
    """Compare a few methods on data of your own, without writing a plan: it is written, printed, and run.

    Every method gets the same search, seeds and steps; a data file is divided by distinct input. The plan stays in the
    run's folder, so that `featherbench run` goes on with it, or with what you change in it.

    Examples:

      featherbench try --model smollm2-135m --data mine.jsonl --methods prefix,adapter,full_ft --budget 0.1%

      featherbench try --model feather-3m --task places --size 50 --methods prefix,adapter --plan-only
    """
    with mended_errors():
        from featherbench.harness import try_out
        from featherbench.harness.spec import PlanError, lookup
        from featherbench.tasks import TASKS

        names = try_out.named_methods(methods)
        if (task is None) == (data is None):
            raise PlanError("give either --data FILE, your own pairs, or --task NAME, a known task.")
        own: Data | None = None
        if data is not None:
            own = try_out.read_data(data, source, references)
        else:
            lookup("task", str(task), TASKS)
        quiet_libraries()
        place = str(Path(model).absolute()) if Path(model).is_dir() else model
        question = try_out.Question(
            model=place,
            methods=names,
            task=own.task(score or ["bleu"]) if own else str(task),
            budget=budget,
            size=try_out.size_of(size),
            seeds=seeds,
            search=search,
            steps=steps,
            test=test,
        )
        notes = [own.told] if own else []
        notes += try_out.budget_notes(question, _anatomy(place))
        name = f"try-{try_out.slug(own.name if own else str(task))}"
        folder = folder_of(name, out)
        text = try_out.plan_of(question, name, None if own else _held_out(str(task), question.size))
        files = {"plan.yaml": text, **(own.files() if own else {})}
        with TemporaryDirectory() as scratch:  # a plan with a mistake leaves nothing behind
            _write(Path(scratch), files)
            expanded = expanded_plan(str(Path(scratch) / "plan.yaml"), None)
        _write(folder, files)
        plan = folder / "plan.yaml"
        arguments = shlex.join([str(plan), *(["--out", str(folder)] if out else [])])
        number = sum(cell.num_search + cell.num_final for cell in expanded.cells)
    for line in (*notes, "", text.rstrip(), "", f"{number} trials. The plan is in {plan}."):
        say(line, error=as_json)
    go_on = f"featherbench run {arguments}"
    if plan_only:
        if as_json:
            show_json({"plan": str(plan), "trials": number, "go_on": go_on})
        else:
            say(f"Run it by: {go_on}")
            say(f"Estimate the time by: featherbench plan {arguments} --probe")
        return
    asked = not yes and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if asked and not typer.confirm("Run it?", default=True):
        say(f"Run it later by: {go_on}")
        return
    say(f"If it is stopped, this goes on: {go_on}", error=True)
    sweeps.run(str(plan), out=folder, as_json=as_json)


def _anatomy(model: str) -> Anatomy:
    """Return the anatomy of a backbone, which is fetched and converted if need be."""
    from featherbench.harness import backbones
    from featherbench.harness.plan import check_backbone

    check_backbone(model)
    backbones.prepare(model, lambda text: say(text, error=True))
    return backbones.anatomy(model)


def _held_out(task: str, size: int | str) -> dict[str, int]:
    from featherbench.harness.try_out import held_out_of
    from featherbench.tasks.base import SPLITS
    from featherbench.tasks.load import load

    return held_out_of({split: len(load(task, split)) for split in SPLITS}, size)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write the plan and its data, unless the folder holds the results of another plan or other data."""
    from featherbench.harness.spec import PlanError

    if (folder / "store.sqlite").exists():
        for name, text in files.items():
            path = folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                raise PlanError(
                    f"{folder} holds results of other options or data ({name} differs). Give another folder by -o, or go "
                    f"on with those by `featherbench run {folder / 'plan.yaml'} --out {folder}`."
                )
        return
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
