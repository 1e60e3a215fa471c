"""Invented cells, trials and results, from which the tests of the pages fill their stores."""

from featherbench.harness.records import (
    Cell,
    Cost,
    DecodingSettings,
    ItemStatistics,
    Place,
    Prediction,
    Result,
    ScoreValue,
    Settings,
    Subset,
    Trial,
)
from featherbench.harness.store import Store
from featherbench.tasks.metrics.additive import pack

TEST = Subset(name="test", split="test", sha256="e" * 64)
VALIDATION = Subset(name="validation", split="validation", sha256="f" * 64)
SIGNATURE = "invented|version:1"


def cell_of(
    row, method=None, *, task="places", size=None, backbone="tiny", budget=None, search=None, given=None, **trial
):
    """Return a cell; `trial` is what the plan fixed of its trials."""
    given = given or {}
    planned = {"config": {}, "learning_rate": 1e-3, "steps": 40, "words": "", "words_as": "none", **trial}
    fixed = {"trial": planned, "search": search or {}, "final": {}, "given": given}
    method = method or row
    return Cell(row=row, backbone=backbone, task=task, size=size, method=method, budget=budget, fixed=fixed)


def trial_of(cell, seed, *, evaluate=TEST, draw=None, settings=None, decoding=None, **changes):
    """Return a trial of a cell as its plan fixed it, but for `changes`."""
    planned = cell.fixed["trial"]
    content = {
        "config": planned["config"],
        "learning_rate": planned["learning_rate"],
        "steps": planned["steps"],
        "words": planned["words"],
        "words_as": planned["words_as"],
        "weight_decay": 0.0,
        **changes,
    }
    return Trial(
        backbone=cell.backbone,
        backbone_sha256="b" * 64,
        method=cell.method,
        method_version=1,
        task=cell.task,
        task_version=1,
        train=Subset(name="train", split="train", size=cell.size, draw=draw, sha256="d" * 64),
        validation=VALIDATION,
        evaluate=evaluate,
        settings=Settings(**(settings or {})),
        decoding=DecodingSettings(**{"beams": 5, "max_new_tokens": 48, "length_penalty": 1.0, **(decoding or {})}),
        seed=seed,
        precision="float32",
        **content,
    )


def cost_of(*, stored=1_000, total=1_000_000, train=100.0, decode=10.0, flops=1.5e12, tokens=8_000):
    """Return a cost; `flops` are those of training, decoding takes a tenth of it."""
    return Cost(
        trained_parameters=3 * stored,
        stored_parameters=stored,
        total_parameters=total,
        stored_bytes=4 * stored,
        steps=40,
        train_tokens=tokens,
        train_seconds=train,
        decode_seconds=decode,
        seconds=train + decode + 1,
        tokens_per_second=tokens / train,
        train_flops=flops,
        decode_flops=flops / 10,
        train_peak_bytes=2_500_000_000,
        decode_peak_bytes=1_200_000_000,
        device="CPU",
    )


def result_of(trial, scores, *, cost=None, sums=None, **more):
    """Return a result; `scores` is {metric or (metric, subset): value}, `sums` {metric: (names, [items, names])}."""
    values = {key if isinstance(key, tuple) else (key, "all"): value for key, value in scores.items()}
    content = {
        "status": "ok",
        "scores": tuple(ScoreValue(metric=m, subset=s, value=v, signature=SIGNATURE) for (m, s), v in values.items()),
        "predictions": tuple(Prediction(item=i, text=f"output {i}", truncated=False) for i in range(6)),
        "item_statistics": tuple(
            ItemStatistics(metric=metric, names=names, packed=pack(rows))
            for metric, (names, rows) in (sums or {}).items()
        ),
        "best_step": 20,
        "cost": cost or cost_of(),
    }
    return Result(trial_id=trial.id, **(content | more))


def failed(trial, cause="out of memory"):
    """Return a result without scores and costs."""
    return Result(trial_id=trial.id, status="failed", cause=cause)


def empty_store(tmp_path):
    """Return a store without a plan."""
    return Store(f"sqlite:///{tmp_path}/store.sqlite")


def plan(store, *cells):
    """Add cells to the store's one plan, in the order in which they come first."""
    planned = vars(store).setdefault("planned_by_tests", [])
    planned += [cell for cell in cells if cell not in planned]
    store.add_plan("p" * 12, "invented", "name: invented", planned)


def put(store, cell, phase, number, trial, result=None):
    """Put a trial at a place of a planned cell and, given a result, finish it."""
    plan(store, cell)
    store.add_places([(Place(cell=cell.id, phase=phase, number=number), trial)])
    if result is not None:
        store.record([(result, store.begin_attempts([trial.id]).get(trial.id, 0))])


def search_phase(store, cell, scores, *, rates, metric="bleu", first_seed=7):
    """Fill the search phase of a cell: one trial a number; a score may also be "failed", or (value, "diverged")."""
    plan(store, cell)
    for number, (score, rate) in enumerate(zip(scores, rates, strict=True)):
        store.add_proposal(cell.id, number, {"learning_rate": rate}, "sobol")
        trial = trial_of(cell, first_seed, evaluate=VALIDATION, learning_rate=rate)
        if score == "failed":
            put(store, cell, "search", number, trial, failed(trial))
            continue
        value, status = score if isinstance(score, tuple) else (score, "ok")
        put(store, cell, "search", number, trial, result_of(trial, {metric: value}, status=status))


def final_phase(store, cell, scores, **changes):
    """Fill the final phase of a cell: one seed per entry of `scores`, {metric: value} or a value of BLEU."""
    for seed, score in enumerate(scores):
        trial = trial_of(cell, seed, **{key: value for key, value in changes.items() if key != "cost"})
        values = score if isinstance(score, dict) else {"bleu": score}
        put(store, cell, "final", seed, trial, result_of(trial, values, cost=changes.get("cost")))


def tables(page):
    """Return {name: table} of a page, folded ones too."""
    return {block.name: block for block in page.all_blocks() if hasattr(block, "rows")}


def only(page, start):
    """Return the one table whose name begins with `start` and goes on with a hash or a board's name."""
    [found] = [table for name, table in tables(page).items() if name.startswith(start)]
    return found


def lines(table):
    """Return each row as {column: entry}."""
    names = [field.text for field in table.header]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def texts(page):
    """Return all paragraphs and list items."""
    found = []
    for block in page.all_blocks():
        found += [block.text] if type(block).__name__ in ("Text", "Heading") else []
        found += list(block.items) if type(block).__name__ == "Bullets" else []
    return found


def figures(page):
    """Return {name: [(mark, points)] by layer} of a page."""
    found = {}
    for block in page.all_blocks():
        if type(block).__name__ == "Figure":
            named, shared = block.spec.get("datasets", {}), block.spec.get("data")
            data = [layer.get("data", shared) for layer in block.spec["layer"]]
            points = [one["values"] if "values" in one else named[one["name"]] for one in data]
            marks = [layer["mark"]["type"] for layer in block.spec["layer"]]
            found[block.name] = list(zip(marks, points, strict=True))
    return found
