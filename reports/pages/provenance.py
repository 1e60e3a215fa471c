"""provenance.html: plans, versions, scorers, data, machines, and how often each split was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from featherbench.reports.blocks import Block, Code, Entry, Folded, Heading, Page, Table, Text, entries, how_to_read
from featherbench.reports.citing import citation, methods_paragraph
from featherbench.reports.provenance import Origin
from featherbench.reports.report import Report
from featherbench.reports.tables import trial_path

HOW_TO_READ = (
    "Every distinct value that the trials recorded, with the number of trials that have it and their methods: two lines of one "
    "key are two ways in which trials were run.",
    "“seen in pretraining” is what the backbone's own pretraining had seen of the task. “also trained on” counts inputs of "
    "validation and test that also stand among a trial's training inputs. “frozen work” says whether results of frozen "
    "layers were kept between steps, or why not; it changes no number beyond rounding. “engine” is who ran the steps: the "
    "plain loop or DeepSpeed. “git dirty” is true where the code had changes that no commit holds.",
    "Two git commits are two states of the code that ran trials; where a change moves numbers beyond rounding, the version of "
    "protocol, task, method or scorer moves with it; at a high learning rate rounding alone may move a score. The report itself "
    "may be of a later commit.",
    "An index list is the list of items of a split that were used, by its hash; the store holds it, so that it can be used "
    "again. The signature of a scorer says how it tokenises and which version it is. A look is one scoring of test items: "
    "“final” by a trial, other reasons by hand. An attempt without a result was stopped: by Ctrl-C, a lost machine, a crash.",
)
AGAIN = (
    "To run a plan again, install featherbench {version} (of the commit under “Machines and packages”, if one stands there; in "
    "a checkout of it “make setup” installs the versions that it is tested with), save the plan's text as plan.yaml and type "
    "“featherbench run plan.yaml --out runs/again”. To run one row, leave the other methods and the headline list, if there "
    "is one, out of the text; rows that no method's line names are baselines, and come by themselves. “featherbench plan "
    "plan.yaml --probe” says beforehand how long it takes. The same command goes on where it was stopped. A single trial is "
    "run again from the file beside its page, trials/ID.json, with nothing else of the run: its page has the command.",
    "On the CPU of one machine, with the same versions and as many threads, every bit of a trial that was not trained in a pack "
    "should come out again. Elsewhere its validation losses should be within 1e-5 and 98 % of its outputs equal (float32; 1e-10 "
    "and all for float64, 1e-2 and 90 % for bfloat16). A high learning rate makes rounding errors grow: such a trial may score "
    "otherwise elsewhere.",
)
LOOKS = "How often each evaluated split was looked at"


def page(report: Report) -> Page:
    """Return the page."""
    blocks: list[Block] = [
        how_to_read(*HOW_TO_READ),
        Heading(level=2, text="To copy"),
        Code(title="Methods paragraph", text=methods_paragraph(report)),
        Code(title="Citation", text=citation()),
        Heading(level=2, text="Plans"),
        *(Text(text=text.format(version=version("featherbench"))) for text in AGAIN),
    ]
    plans = report.contents.plans
    for number, plan in enumerate(plans):
        later = any(other.name == plan.name for other in plans[number + 1 :])
        title = f"Plan {plan.name} ({plan.id}), recorded {plan.created}" + (
            "; a later one has its name" if later else ""
        )
        blocks.append(Folded(title=title, blocks=(Code(text=plan.text),)))
    for table in provenance_tables(report.origin):
        blocks += [Heading(level=2, text=table.title), table]
    lead = "Where every number comes from. The same as data: provenance.json."
    return Page(path="provenance.html", title="Provenance", lead=lead, blocks=tuple(blocks))


def provenance_tables(origin: Origin) -> list[Table]:
    """Return the origin of the numbers; the plans' texts are shown apart."""
    shared = ("protocol", "backbones", "tasks", "methods", "precision", "decoding", "settings")
    versions = [(key, row) for key in shared for row in origin[key]]
    machines = [(key, row) for key, rows in origin["machines"].items() for row in rows]
    index_lists = ("name", "task", "split", "size", "sha256", "trials", "list_in_store")
    attempts = ("trial", "number", "started", "outcome")
    tables = [
        _listing("looks", LOOKS, ("split", "task", "reason", "looks", "trials"), origin["looks"]),
        _grouped("versions", "Versions and settings", versions),
        _listing(
            "scorers", "Scorers", ("metric", "subset", "task", "evaluated", "signature", "trials"), origin["scorers"]
        ),
        _listing("index-lists", "Index lists", index_lists, origin["index_lists"]),
        _grouped("machines", "Machines and packages", machines),
        _listing("lost-attempts", "Attempts without a result", attempts, origin["lost_attempts"]),
    ]
    return [table for table in tables if table.rows]


def _listing(name: str, title: str, names: Sequence[str], rows: Sequence[dict[str, object]]) -> Table:
    body = tuple(tuple(_value_entry(row[key], key) for key in names) for row in rows)
    return Table(name=name, title=title, header=entries(*(key.replace("_", " ") for key in names)), rows=body)


def _grouped(name: str, title: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Return a table of values; where all methods of the table have one, they are not listed."""
    every = {method for _, row in rows for method in row["methods"]}
    body = tuple(
        (
            Entry(text=key),
            _value_entry(row["value"], ""),
            _value_entry(row["trials"], "trials"),
            Entry(text="all" if every == set(row["methods"]) else ", ".join(row["methods"]), long=True),
        )
        for key, row in rows
    )
    return Table(name=name, title=title, header=entries("key", "value", "trials", "methods"), rows=body)


def _value_entry(value: object, key: str) -> Entry:
    if value is None:
        return Entry(text="all" if key == "size" else "none")
    if isinstance(value, bool):
        return Entry(text="yes" if value else "no")
    if isinstance(value, int | float):
        return Entry(text=str(value), value=value)
    if isinstance(value, dict):
        return Entry(text=", ".join(f"{name} {inner}" for name, inner in value.items()), long=True)
    text = str(value)
    return Entry(text=text, long=len(text) > 40, link=trial_path(text) if key == "trial" else "")
