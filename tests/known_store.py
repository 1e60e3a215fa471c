"""An invented store with known answers: the outputs are noisy references, scored by the tasks' own scorers.

places, 16 items, draws final0…final7 nested over the sizes 50, 100, 200, 500; full_ft, tied and better stand at all of
them, short at the first two, the others at 100 only. webnlg, all pairs, 5 seeds, TER only, of which lower is better.
"""

from functools import lru_cache

import numpy as np

from featherbench.harness.records import Cell, DecodingSettings, Place, Prediction, Result, Settings, Subset, Trial
from featherbench.harness.score import score
from featherbench.harness.store import Store
from featherbench.tasks.base import Example
from featherbench.tasks.table import given_name

WORDS = "the a red old quiet harbour inn lies near north of town beside river hill and serves fresh fish daily".split()
NOISE = "xu yo zi qua wex vor".split()
SIZES, DRAWS, SEEDS, ITEMS = (50, 100, 200, 500), 8, 5, 16
WRONG = {"full_ft": 0.30, "tied": 0.30, "better": 0.12, "short": 0.25, "out_of_memory": 0.25, "longer": 0.25}
WRONG |= {"rescored": 0.25, "versions": 0.25, "untuned": 0.60, "low": 0.10, "high": 0.40}
"""Share of wrong words by row"""
PLAN = """
protocol: 1
name: known
backbones: [tiny]
tasks: [places]
sizes: [50, 100, 200, 500]
methods: [full_ft, {method: prefix, row: tied}, {method: prefix, row: better}, {method: prefix, row: short}]
final: {draws: 8}
headline: {reference: full_ft, rows: [tied, better, short], smallest_effect: 1.5}
"""


@lru_cache
def examples():
    """Return item -> Example; the second half is unseen."""
    rng = np.random.default_rng(0)
    found = {}
    for item in range(ITEMS):
        references = tuple(" ".join(rng.choice(WORDS, size=9)) for _ in range(2))
        tags = {"seen": "seen" if item < ITEMS // 2 else "unseen", "category": f"c{item % 4}"}
        found[item] = Example(source=f"source {item}", references=references, tags=tags)
    return found


@lru_cache
def texts(row, size, number):
    """Return the output of each item: its first reference with wrong words, more in some trials and in some items."""
    place = sorted(WRONG).index(row)
    hard = np.random.default_rng(place).uniform(0.4, 1.6, size=ITEMS)  # the same items in every trial of the row
    rng = np.random.default_rng([place, size or 0, number])
    share = WRONG[row] * hard * (1 if row == "untuned" else rng.uniform(0.7, 1.3))
    return [
        " ".join(str(rng.choice(NOISE)) if rng.random() < share[i] else word for word in one.references[0].split())
        for i, one in examples().items()
    ]


def cell_of(row, size, task="places", steps=40, **more):
    draws = 1 if size is None else DRAWS
    fixed = {
        "trial": {"steps": 0 if row == "untuned" else steps},
        "search": {} if row == "untuned" else {"configurations": 16},
        "final": {"seeds": SEEDS if size is None else 1, "draws": draws},
    }
    method = row if row in ("full_ft", "untuned") else "prefix"
    return Cell(row=row, backbone="tiny", task=task, size=size, method=method, fixed=fixed, **more)


def trial_of(cell, number, version=1):
    draw = None if cell.size is None else f"final{number}"
    return Trial(
        backbone="tiny",
        backbone_sha256="b" * 64,
        method=cell.method,
        method_version=version,
        config={"row": cell.row},
        learning_rate=1e-3,
        weight_decay=0.0,
        steps=cell.fixed["trial"]["steps"],
        task=cell.task,
        task_version=1,
        train=Subset(name="train", split="train", size=cell.size, draw=draw, sha256=f"{cell.size} {draw}"),
        validation=Subset(name="validation", split="validation", sha256="v" * 64),
        evaluate=Subset(name="test16", split="test", size=ITEMS, sha256="e" * 64),
        settings=Settings(),
        decoding=DecodingSettings(beams=1, max_new_tokens=48, length_penalty=1.0),
        words="",
        words_as="none",
        seed=1000 + (number if cell.size is None else 0),
        precision="float32",
    )


def finish(store, cell, number, outputs, version=1, scores=(), rescored=False):
    """Put a trial of these outputs at a final place of the cell and score it; None for outputs: out of memory."""
    trial = trial_of(cell, number, version)
    store.add_places([(Place(cell=cell.id, phase="final", number=number), trial)])
    attempt = store.begin_attempts([trial.id])[trial.id]
    if outputs is None:
        store.record([(Result(trial_id=trial.id, status="failed", cause="out of memory: 2 GB short"), attempt)])
        return
    predictions = tuple(Prediction(item=i, text=text, truncated=False) for i, text in enumerate(outputs))
    found = score(cell.task, predictions, examples(), scores)
    values = found.values
    if rescored:
        values = tuple(one.model_copy(update={"signature": "an older scorer"}) for one in values)
    result = Result(
        trial_id=trial.id, status="ok", scores=values, item_statistics=found.statistics, predictions=predictions
    )
    store.record([(result, attempt)])


def build(url):
    """Return the store described above."""
    kept = Store(url)
    items = [
        {"item": i, "source": one.source, "references": list(one.references), "tags": dict(one.tags)}
        for i, one in examples().items()
    ]
    for task in ("places", "webnlg"):
        kept.add_items(task, 1, "test16", items)
    with kept.transaction():
        listed = [(row, size) for size in SIZES for row in ("full_ft", "tied", "better", "short")]
        kept.add_plan("known", "known", PLAN, [cell_of(row, size) for row, size in listed])
        special = [cell_of(row, 100) for row in ("out_of_memory", "rescored", "versions", "untuned")]
        special.append(cell_of("longer", 100, steps=80))
        seeded = [cell_of(row, None, task="webnlg") for row in ("low", "high")]
        kept.add_plan("special", "special", "of another protocol", [*special, *seeded])
        for row, size in listed:
            for number in range(DRAWS if row != "short" or size <= 100 else 0):
                finish(kept, cell_of(row, size), number, texts(row, size, number))
        for cell in special:
            for number in range(1 if cell.row == "untuned" else DRAWS):
                lost = cell.row == "out_of_memory" and number == 3
                outputs = None if lost else texts(cell.row, 100, number)
                version = 2 if cell.row == "versions" and number == 0 else 1
                finish(kept, cell, number, outputs, version, rescored=cell.row == "rescored" and number == 0)
        for cell in seeded:
            for number in range(SEEDS):
                finish(kept, cell, number, texts(cell.row, None, number), scores=("ter",))
    return kept


def small(url, cells, headline, outputs, again=(), scores=()):
    """Return a store of one plan with a headline list; `outputs` gives by (row, size, place) the texts of a trial.

    None stands for out of memory; a place that is not given has no result. The places in `again` hold the trial before.
    """
    kept = Store(url)
    rows = dict.fromkeys(cell.row for cell in cells)
    methods = "".join(f"  - {{method: prefix, row: {row}}}\n" for row in rows)
    sizes = sorted({cell.size or 0 for cell in cells})
    text = f"protocol: 1\nname: small\nbackbones: [tiny]\ntasks: [{given_name(cells[0].task)}]\nmethods:\n{methods}"
    text += f"sizes: {sizes if sizes != [0] else '[full]'}\nheadline: {headline}\n"
    kept.add_plan("small", "small", text, cells)
    with kept.transaction():
        for cell in cells:
            for number in range(cell.fixed["final"]["seeds"] * cell.fixed["final"]["draws"]):
                if number in again:
                    kept.add_places([(Place(cell=cell.id, phase="final", number=number), trial_of(cell, number - 1))])
                elif (cell.row, cell.size, number) in outputs:
                    finish(kept, cell, number, outputs[cell.row, cell.size, number], scores=scores)
    return kept
