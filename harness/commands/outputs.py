"""Commands about outputs and what makes them: inputs, official scores, text from a trial's model, its export and rerun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featherbench.harness.commands.completion import complete_tasks
from featherbench.harness.commands.terminal import (
    ENVIRONMENT,
    FAILED,
    USAGE,
    Json,
    Out,
    StoreUrl,
    mended_errors,
    quiet_libraries,
    say,
    show_json,
    store_to_read,
    trial_of,
)

if TYPE_CHECKING:
    from featherbench.harness.rerun import Reproduction
    from featherbench.harness.store import Store


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
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning; or a folder that `export` wrote")],
    source: Annotated[str, typer.Argument(help='A linearised source, e.g. "name : Aromi | Type : pub"')],
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Decode one source with the model that a trial left behind.

    Examples:

      featherbench generate 3f2a "name : Harrow Quay | category : lighthouse" --out runs/quickstart

      featherbench generate ./my-prefix "name : Harrow Quay | category : lighthouse"
    """
    with mended_errors():
        quiet_libraries()
        from featherbench.harness.decode import decode
        from featherbench.harness.export import ABOUT, read_exported
        from featherbench.harness.worker import tuned_from, tuned_from_delta

        if (Path(trial) / ABOUT).is_file():
            spec, blob = read_exported(Path(trial))
            tuned, encoder = tuned_from(spec, blob, scratch=trial)
        else:
            kept = store_to_read(store, out)
            spec, row = trial_of(kept, trial)
            tuned, encoder = tuned_from_delta(spec, _folder(kept, out), row["delta"], row["delta_sha256"])
        text = decode(tuned, encoder, [(0, source)], spec.decoding)[0].text
    show_json({"trial": spec.id, "source": source, "output": text}) if as_json else say(text)


def _folder(kept: Store, out: Path | None) -> str:
    """Return the folder of a run."""
    from featherbench.harness.store import sqlite_path

    return str(out or (sqlite_path(kept.url) or Path("store")).parent)


def export(
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning")],
    destination: Annotated[
        Path | None, typer.Option("-o", help="Folder to write to, new or empty; default: TRIAL-FORMAT")
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", metavar="safetensors|peft|transformers", help="Who is to load it")
    ] = "safetensors",
    store: StoreUrl = None,
    out: Out = None,
) -> None:
    """Write a finished trial as a folder to use or to publish; its README.md has the lines to type.

    safetensors: the stored tensors for `featherbench generate`, with the trial's record, scores and predictions. peft:
    an adapter that peft loads to the same logits. transformers: a whole model, of methods that train a backbone's own
    weights. What a format cannot hold is refused with the reason, exit code 2.

    Examples:

      featherbench export 3f2a -o my-prefix --out runs/quickstart

      featherbench export 3f2a -o my-prefix --format peft --out runs/quickstart
    """
    with mended_errors():
        quiet_libraries()
        from featherbench.harness.export import export as write

        kept = store_to_read(store, out)
        folder = destination or Path(f"{kept.trial(trial)['id']}-{kind}".replace("/", "_"))
        for path in write(kept, trial, _folder(kept, out), folder, kind):
            say(str(path))


def rerun(
    trial: Annotated[
        str,
        typer.Argument(metavar="TRIAL|FILE", help="Trial id, or its beginning; or the .json of a trial in a report"),
    ],
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, metavar="LOSS", help="Most that validation losses may differ; default: by precision"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; default: as recorded")] = None,
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Train, decode and score a finished trial again, by itself, and compare; the store's result stays as it is.

    A file needs no store: the .json beside a trial's page in a report, or an export's trial.json.

    Refused where backbone, data, method or task are not the recorded ones (exit code 3). Decoding the test split again
    is logged as a look at it in the store. Exit code 1 if the trial is not reproduced within the tolerance.

    Examples:

      featherbench rerun 3f2a --out runs/quickstart

      featherbench rerun site/trials/3f2ac19b7d04.json
    """
    with mended_errors():
        quiet_libraries()
        from featherbench.harness.recorded import from_file, recorded
        from featherbench.harness.rerun import rerun as again

        stages: list[str] = []

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages.append(stage)
                say(f"{stage} ...", error=True)

        if trial.endswith(".json"):
            found = again(from_file(Path(trial)), tolerance, threads, tell)
        else:
            kept = store_to_read(store, out)
            was = recorded(kept, trial)
            found = again(was, tolerance, threads, tell, on_start=lambda: kept.log_look(was.id, "rerun"))
    show_json(found.as_json()) if as_json else _show_reproduction(found)
    if not found.within:
        raise typer.Exit(FAILED)


def _show_reproduction(found: Reproduction) -> None:
    for pair in found.scores:
        recorded, reproduced = ("none" if v is None else f"{v:.4f}" for v in (pair.recorded, pair.reproduced))
        say(f"{pair.metric:<12} {pair.subset:<12} recorded {recorded:>9}  reproduced {reproduced:>9}")
    for line in found.lines():
        say(line)
