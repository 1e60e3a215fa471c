"""Commands about outputs: inputs of a task, official scores, and text from a trial's model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featherbench.harness.commands.terminal import (
    ENVIRONMENT,
    FAILED,
    USAGE,
    Json,
    Out,
    StoreUrl,
    complete_tasks,
    mended_errors,
    quiet_libraries,
    say,
    show_json,
    store_to_read,
    trial_of,
)

if TYPE_CHECKING:
    pass


def inputs(
    task: Annotated[str, typer.Argument(help="A task's name", autocompletion=complete_tasks)],
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
) -> None:
    """Print the inputs of a split, one a line, in the order in which `score TASK FILE` expects the outputs.

    Example:  featherbench inputs e2e --split validation
    """
    with mended_errors():
        from featherbench.harness import outputs

        for source in outputs.inputs(task, split):
            say(source)


def score(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TRIAL|TASK",
            help="Trial id, or its beginning; `all`; or a task's name with FILE",
            autocompletion=complete_tasks,
        ),
    ] = "all",
    file: Annotated[
        Path | None, typer.Argument(help="Outputs of any system, one line for each line of `featherbench inputs TASK`")
    ] = None,
    split: Annotated[str, typer.Option(help="Split that FILE answers")] = "test",
    verify: Annotated[
        bool, typer.Option("--verify", help="Score the golden cases again, beside the official figures")
    ] = False,
    names: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="NAME", help="Only this score of FILE or --verify; repeatable"),
    ] = None,
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Score an output file, check the scorers, or score a run's kept predictions again.

    A file gets every official score of the task, also for seen and unseen items apart. A score that cannot be had here
    says why; if it was asked for by --score, the exit code is 3. Re-scoring replaces the scores in the store and is
    logged as a look at the split.

    Examples:

      featherbench score e2e outputs.txt

      featherbench score e2e outputs.txt --score meteor --score bleu

      featherbench score --verify

      featherbench score all --out runs/quickstart
    """
    if verify:
        _verify_scores(names or [], as_json)
    elif file is not None:
        _score_file(what, file, split, names or [], as_json)
    elif names:
        say("error: --score goes with FILE or --verify; a run's predictions get all scores again.", error=True)
        raise typer.Exit(USAGE)
    else:
        _score_again(what, store, out, as_json)


def _verify_scores(names: list[str], as_json: bool) -> None:
    from featherbench.harness.spec import lookup
    from featherbench.tasks.golden import NAMES, checks

    with mended_errors():
        for name in names:
            lookup("golden score", name, dict.fromkeys(NAMES))
    found = []
    for check in checks(names):
        found.append(check.row)
        if not as_json:
            ours = "-" if check.ours is None else f"{check.ours:.6f}"
            say(f"{check.case:<11} {check.score:<16} official {check.official:<10.6f} ours {ours:<10} {check.verdict}")
    if as_json:
        show_json(found)
    if any(row["verdict"] == "differs" for row in found):
        raise typer.Exit(FAILED)
    _refuse_absent({row["score"]: row["verdict"] for row in found if names and row["ours"] is None})


def _score_file(task: str, file: Path, split: str, names: list[str], as_json: bool) -> None:
    from featherbench.harness.outputs import score_file

    with mended_errors():
        found = score_file(task, file, split, names)
    if as_json:
        show_json({"task": task, "split": split, "file": str(file), "scores": found})
    for row in [] if as_json else found:
        value = "none" if row["value"] is None else f"{row['value']:.4f}"
        say(f"{row['metric']:<12} {row['subset']:<12} {value:>9}  {row['unit']}  [{row['signature']}]")
    _refuse_absent({row["metric"]: row["signature"] for row in found if names and row["value"] is None})


def _refuse_absent(reasons: dict[str, str]) -> None:
    """Exit with an error if a score that was asked for by name has no value; `reasons` by score."""
    for name, reason in reasons.items():
        say(f"error: {name}: {reason}", error=True)
    if reasons:
        raise typer.Exit(ENVIRONMENT)


def _score_again(trial: str, store: str | None, out: Path | None, as_json: bool) -> None:
    from featherbench.harness.status import rescore
    from featherbench.tasks import TASKS

    if trial in TASKS:
        say(f"error: which file? Say `featherbench score {trial} FILE`.", error=True)
        raise typer.Exit(USAGE)
    with mended_errors():
        kept = store_to_read(store, out)
        wanted = (
            [t for t, s in kept.finished().items() if s != "failed"] if trial == "all" else [kept.trial(trial)["id"]]
        )
        found = {trial_id: rescore(kept, trial_id) for trial_id in wanted}
    if as_json:
        show_json({t: [s.model_dump() for s in values] for t, values in found.items()})
        return
    for trial_id, values in found.items():
        for s in values:
            value = s.value if s.value is None else format(s.value, ".2f")
            say(f"{trial_id}  {s.metric:<8} {s.subset:<12} {value}  {s.signature}")


def generate(
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning")],
    source: Annotated[str, typer.Argument(help='A linearised source, e.g. "name : Aromi | Type : pub"')],
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Decode one source with the model that a trial left behind.

    Example:  featherbench generate 3f2a "name : Harrow Quay | category : lighthouse" --out runs/quickstart
    """
    with mended_errors():
        quiet_libraries()
        from featherbench.harness.decode import decode
        from featherbench.harness.store import sqlite_path
        from featherbench.harness.worker import tuned_from_delta

        kept = store_to_read(store, out)
        spec, row = trial_of(kept, trial)
        artifacts = str(out or (sqlite_path(kept.url) or Path("store")).parent)
        tuned, encoder = tuned_from_delta(spec, artifacts, row["delta"], row["delta_sha256"])
        text = decode(tuned, encoder, [(0, source)], spec.decoding)[0].text
    show_json({"trial": spec.id, "source": source, "output": text}) if as_json else say(text)
