"""terms.html: the words of this site, and what the methods, tasks and backbones on it are."""

from __future__ import annotations

from featherbench.harness.catalogue import BACKBONES
from featherbench.reports.blocks import Block, Entry, Heading, Page, Table, entries
from featherbench.reports.described import about, options
from featherbench.reports.read import Run
from featherbench.reports.report import Report
from featherbench.reports.text import MISSING

TERMS: tuple[tuple[str, str], ...] = (
    (
        "trial",
        "One training with one configuration, one seed and one list of training pairs, with its outputs and scores.",
    ),
    (
        "row, cell",
        "A method as the plan wants it tried (its options, budget and search) on one backbone, task and size. A cell has a "
        "row of its own on its board.",
    ),
    ("board", "The rows of one backbone, task, evaluated subset and size. Rows of different boards are not compared."),
    ("search", "Trials on validation data that choose a row's configuration: learning rate, steps, length, …"),
    (
        "final phase",
        "The trials whose test scores are the results. They use the chosen configuration under fresh seeds.",
    ),
    (
        "place",
        "One trial that the design asks for, by its number within a cell. Equal trials of two plans are run once.",
    ),
    (
        "seed",
        "The number from which a trial's initial values, order of the data and dropout follow. The data do not depend on it.",
    ),
    (
        "draw",
        "A random choice of the training and validation pairs. The pairs of a smaller size are the first ones of a larger "
        "size of the same draw. The search uses other draws than the final phase.",
    ),
    ("size", "The number of training pairs, or of inputs with all their references. Validation pairs come on top."),
    (
        "pair, item, input",
        "A pair is an input with one reference, to train on. An item is an input with all of them, to score.",
    ),
    (
        "budget",
        "The share of the backbone's parameters that a row may store; its length or width is sized to come closest.",
    ),
    (
        "stored, trained",
        "What is kept after tuning and what the optimiser moves; an MLP that is dropped is trained only.",
    ),
    (
        "seen, unseen",
        "Test items of categories that the training pairs have, or have not. The gap is unseen minus seen.",
    ),
    ("task words", "Words that tell the task, put before the input or used as initial values, as the plan says."),
    ("untuned, copy", "Rows to compare with: the bare backbone, and the input itself as output. Nothing is trained."),
    ("truncated", "An output that was cut because it reached the most new tokens, so that its end is missing."),
    (
        "diverged, failed",
        "A diverged trial counts with its best weights. A failed one has no score; its cause is listed.",
    ),
    (
        "interval",
        "Made so that it holds the true mean in 95 of 100 experiments like this one. “For new inputs”: the mean over all "
        "seeds or draws and all items of this kind. “This test set”: over all seeds or draws on these very items.",
    ),
    (
        "rank",
        "The places that a row may have: behind the rows that are significantly better and before those that are "
        "significantly worse, over all pairs of the board at 5 % together (Holm).",
    ),
    ("paired", "Taken between trials of the same seed or draw on the same items, so that what both share cancels out."),
    (
        "headline comparison",
        "One that the plan named before its final phase. Only these have a p, by Holm over the list.",
    ),
    (
        "p, sign-flip p",
        "How often a difference as large would come about if there were none. p is of a t test with the standard error and "
        "the degrees of freedom of the interval, over units and items, adjusted by Holm. Sign-flip p flips the signs of the "
        "units' differences, from eight units on, and is not adjusted: with n units it is never below 2 / 2ⁿ, .008 for 8.",
    ),
    ("smallest effect", "The difference below which the plan takes two rows for equal in practice, fixed beforehand."),
    (
        "supported, contradicted, equivalent, not resolved",
        "Significantly better; significantly worse; shown to differ by less than the smallest effect; none of these.",
    ),
    (
        "detectable",
        "The smallest true difference that this many seeds or draws would show in four of five experiments.",
    ),
    (
        "estimand",
        "What a mean speaks of: one configuration under other seeds, or the whole procedure, search included.",
    ),
    ("FLOPs", "Floating-point operations, computed from the shapes of what was run, not measured."),
    (
        "peak memory",
        "The most that the worker held while it trained, or decoded. On a GPU it is what was allocated there. On a CPU it is "
        "the resident memory of the process, its libraries included: equal trials differ by a tenth and more.",
    ),
    ("latency", "Seconds of decoding per output, and how many times the bare backbone's that is."),
    ("signature", "The scorer's name, version and options: two scores are comparable only where these are equal."),
)


def page(report: Report) -> Page:
    """Return the page."""
    runs, blocks = report.contents.runs, list[Block]()
    for table in (terms_table(), methods_table(runs), options_table(runs), tasks_table(runs), backbones_table(runs)):
        if table.rows:
            blocks += [Heading(level=2, text=table.title), table]
    lead = "The words of this site, and what its methods, tasks and backbones are."
    return Page(path="terms.html", title="Terms", lead=lead, blocks=tuple(blocks))


def terms_table() -> Table:
    """Return every term with its meaning."""
    rows = tuple((Entry(text=term), Entry(text=meaning, long=True)) for term, meaning in TERMS)
    return Table(name="", title="Words", header=entries("term", "meaning"), rows=rows)


def methods_table(runs: tuple[Run, ...]) -> Table:
    """Return what every method on the site is."""
    return _told("Methods", "methods", [run.trial.method for run in runs])


def tasks_table(runs: tuple[Run, ...]) -> Table:
    """Return what every task on the site is."""
    return _told("Tasks", "tasks", [run.trial.task for run in runs])


def options_table(runs: tuple[Run, ...]) -> Table:
    """Return what the options of these methods are."""
    found = {(run.trial.method, name): text for run in runs for name, text in options(run.trial.method).items()}
    rows = tuple((*entries(method, name), Entry(text=text, long=True)) for (method, name), text in found.items())
    return Table(name="", title="Options of methods", header=entries("method", "option", "what it is"), rows=rows)


def backbones_table(runs: tuple[Run, ...]) -> Table:
    """Return what every backbone on the site is."""
    names = dict.fromkeys(run.trial.backbone for run in runs)
    told = {name: BACKBONES[name].about if name in BACKBONES else MISSING for name in names}
    rows = tuple((Entry(text=name), Entry(text=text, long=True)) for name, text in told.items())
    return Table(name="", title="Backbones", header=entries("name", "what it is"), rows=rows)


def _told(title: str, folder: str, names: list[str]) -> Table:
    rows = tuple(
        (Entry(text=name), Entry(text=about(folder, name) or MISSING, long=True)) for name in dict.fromkeys(names)
    )
    return Table(name="", title=title, header=entries("name", "what it is"), rows=rows)
