"""A thousand broken plans: each is one line that names the key or the line, exit code 2. And sound ones pass."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from featherbench.harness.cli import USAGE, app
from featherbench.harness.plan_text import LARGEST
from featherbench.harness.spec import Baseline, read_spec
from featherbench.methods import METHODS
from featherbench.tasks import TASKS

PLAN: dict[str, Any] = {
    "protocol": 1,
    "name": "small",
    "backbones": ["feather-3m"],
    "tasks": ["places"],
    "sizes": [20],
    "size_unit": "pair",
    "methods": [{"method": "prefix", "row": "mine", "config": {"length": 3, "learning_rate": 0.001}}],
    "baselines": [],
    "words": "",
    "search": {"configurations": 0, "sampler": "sobol", "draws": 1, "study": 0},
    "final": {"seeds": 1, "draws": 1},
    "training": {"steps": 4, "batch_size": 4, "evaluations": 1, "warmup_steps": 0, "clip": 1.0, "weight_decay": 0.0},
    "validation": 6,
    "test": 8,
    "decoding": {"beams": 2, "max_new_tokens": 16},
    "precision": "float32",
    "seed": 0,
}
OWN = {"name": "own", "train": "a.jsonl", "validation": "a.jsonl", "test": "a.jsonl", "references": "text"}
"""A task that the plan describes; its file lies beside the plan"""


@dataclass(frozen=True)
class Broken:
    """A plan file that must be refused."""

    content: bytes
    named: tuple[str, ...]
    """What the message must hold: the key, or the line"""
    hidden: str = ""
    """What no output may hold"""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to run in, with a data file."""
    place = tmp_path_factory.mktemp("fuzz")
    rows = [json.dumps({"source": f"name : {i}", "text": f"It is {i}."}) for i in range(30)]
    (place / "a.jsonl").write_text("\n".join(rows))
    command = get_command(app)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        # half of a call's time would go into building the command line anew
        patch.setattr("typer.testing._get_command", lambda _: command, raising=False)
        yield place


def refused(plan: Broken) -> None:
    Path("plan.yaml").write_bytes(plan.content)
    found = CliRunner().invoke(app, ["plan", "plan.yaml"])
    told = f"{plan.content[:2000]!r}\n{found.output[:2000]}"
    assert isinstance(found.exception, SystemExit), f"{told}\n{found.exception!r}"
    assert found.exit_code == USAGE, told
    assert found.stdout == "" and found.stderr.startswith("error: ") and found.stderr.count("\n") == 1, told
    assert all(line.isprintable() for line in found.stderr.splitlines()) and len(found.stderr) < 6000, told
    assert [part for part in plan.named if part not in found.stderr] == [], f"{plan.named}: {told}"
    assert not plan.hidden or plan.hidden not in found.output, told
    assert not Path("runs").exists()


# --- how plans are broken --------------------------------------------------------------------------------------------


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The plan with another value at a path."""
    plan = copy.deepcopy(PLAN)
    inner: Any = plan
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return plan


def dumped(plan: Any, *named: str) -> Broken:
    return Broken(yaml.safe_dump(plan, sort_keys=False).encode(), named)


WORDS = st.text(st.characters(categories=("L",)), min_size=1, max_size=12)
"""Texts that are no numbers"""
NESTED = st.recursive(st.integers(0, 3), lambda inner: st.lists(inner, min_size=1, max_size=2), max_leaves=4)
NUMBERLESS = st.one_of(
    WORDS.map(lambda word: f"{word} seven"),
    st.sampled_from(["", " ", "nan", "1,5", "0x", "--1", "1e400", "٣ ٣", True, False, [], {}, {"a": 1}, [[]]]),
    st.lists(NESTED, min_size=1, max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.integers(LARGEST + 1, 10**50),
)
NEGATIVE = st.one_of(st.integers(-(10**40), -1), st.floats(-1e300, -1e-3))
NO_TEXT = st.one_of(
    st.none(), st.booleans(), st.integers(0, 9), st.floats(0, 1), st.just([]), st.just({}), st.just([1])
)
NO_LIST = st.one_of(st.none(), st.booleans(), st.integers(0, 9), WORDS, st.just([]), st.just({"a": 1}))
NO_MAPPING = st.one_of(st.none(), st.booleans(), st.integers(0, 9), WORDS, st.just([]), st.just([1]))
NO_CHOICE = st.one_of(WORDS.map(lambda word: f"{word}!"), st.integers(0, 9), st.just([]), st.just({}), st.booleans())
FRACTION = st.floats(1.1, 1e6).filter(lambda number: number != int(number))


WRONG: dict[tuple[str | int, ...], st.SearchStrategy[Any]] = {
    **{("final", key): NUMBERLESS | NEGATIVE | FRACTION | st.just(0) | st.none() for key in ("seeds", "draws")},
    **{
        ("training", key): NUMBERLESS | NEGATIVE | FRACTION | st.just(0) | st.none()
        for key in ("steps", "batch_size", "evaluations")
    },
    **{("training", key): NUMBERLESS | NEGATIVE | st.none() for key in ("warmup_steps", "clip", "weight_decay")},
    ("training", "patience"): NUMBERLESS | NEGATIVE | FRACTION | st.just(0),
    ("search", "draws"): NUMBERLESS | NEGATIVE | FRACTION | st.just(0) | st.none(),
    **{("search", key): NUMBERLESS | NEGATIVE | FRACTION | st.none() for key in ("configurations", "study")},
    ("search", "sampler"): NO_CHOICE | st.none(),
    ("seed",): NUMBERLESS | NEGATIVE | FRACTION | st.none(),
    **{(key,): NUMBERLESS | NEGATIVE | FRACTION | st.just(0) for key in ("validation", "test")},
    ("protocol",): NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.integers(2, 9) | st.sampled_from(["1", 1.0]),
    ("name",): NO_TEXT,
    ("words",): NO_TEXT,
    ("backbones", 0): NO_TEXT | st.sampled_from(["", " ", "\t", "a\nb", "x" * 300, "a/" * 600, "\x00", "\u202e"]),
    ("tasks", 0): NO_TEXT.filter(lambda value: value != {}) | st.just({"nam": "x"}),
    ("methods", 0): NO_TEXT.filter(lambda value: value != {}) | st.just({"row": "x"}),
    ("methods", 0, "method"): NO_TEXT,
    ("methods", 0, "row"): NO_TEXT.filter(lambda value: value is not None) | st.sampled_from(["", "x" * 101]),
    ("methods", 0, "words"): NO_CHOICE,
    ("methods", 0, "config"): NO_MAPPING,
    **{(key,): NO_LIST for key in ("backbones", "tasks", "sizes", "methods")},
    **{(key,): NO_MAPPING for key in ("search", "final", "training", "decoding")},
    ("precision",): NO_CHOICE | st.none(),
    ("size_unit",): NO_CHOICE | st.none(),
    ("baselines",): NO_LIST.filter(lambda value: value != [])
    | st.sampled_from([["maybe"], ["copy", "copy"], [""], [2], [None], [[]]]),
    ("scales",): NO_MAPPING | st.sampled_from([{"smoke": 1}, {"smoke": ["x"]}, {"smoke": None}]),
}


@st.composite
def wrong_values(draw: st.DrawFn) -> Broken:
    path = draw(st.sampled_from(list(WRONG)))
    named = [part for part in path if isinstance(part, str)][-1]
    return dumped(changed(path, draw(WRONG[path])), named)


CONFIG: dict[str, st.SearchStrategy[Any]] = {
    "length": NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.sampled_from([0, 5000, 1 << 20]),
    "hidden": NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.sampled_from([0, 1 << 30]),
    "parametrisation": NO_CHOICE | st.none(),
    "shift_positions": st.sampled_from(["maybe", 2, None, [], {}]),
    "learning_rate": NUMBERLESS | NEGATIVE | st.none(),
    "weight_decay": NUMBERLESS | NEGATIVE | st.none(),
    "steps": NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.integers(5, LARGEST) | st.just(0),
}
DECODING: dict[str, st.SearchStrategy[Any]] = {
    "beams": NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.just(0),
    "max_new_tokens": NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.just(0) | st.integers(5000, LARGEST),
    "min_new_tokens": NUMBERLESS | NEGATIVE | FRACTION | st.none() | st.integers(17, LARGEST),
    "length_penalty": NUMBERLESS | st.none(),
}


@st.composite
def wrong_overrides(draw: st.DrawFn) -> Broken:
    """Values of a method's config and of decoding, which are checked by what they configure."""
    if draw(st.booleans()):
        key = draw(st.sampled_from(list(CONFIG)))
        return dumped(changed(("methods", 0, "config", key), draw(CONFIG[key])), key)
    key = draw(st.sampled_from(list(DECODING)))
    return dumped(changed(("decoding", key), draw(DECODING[key])), key)


LEVELS: dict[str, tuple[str | int, ...]] = {
    "": (),
    "methods.0.": ("methods", 0),
    "config": ("methods", 0, "config"),
    "search.": ("search",),
    "final.": ("final",),
    "training.": ("training",),
    "decoding.": ("decoding",),
    "tasks.0.": ("tasks", 0),
}


@st.composite
def unknown_keys(draw: st.DrawFn) -> Broken:
    level = draw(st.sampled_from(list(LEVELS)))
    plan = changed(("tasks",), [dict(OWN)]) if level.startswith("tasks") else copy.deepcopy(PLAN)
    inner: Any = plan
    for part in LEVELS[level]:
        inner = inner[part]
    misspelt = st.sampled_from(list(inner)).flatmap(
        lambda key: st.integers(0, len(key) - 1).map(lambda i: key[:i] + key[i + 1 :])
    )
    key = draw(
        (WORDS | misspelt.filter(bool)).filter(lambda key: key not in {*inner, *PLAN, "steps", "row", "hub", "scales"})
    )
    inner[key] = draw(st.integers(0, 3) | WORDS)
    return dumped(plan, "unknown key", key, level)


SCORES = st.sampled_from(["blue", "BLEU", "rouge", "", "exact match"])


@st.composite
def unknown_names(draw: st.DrawFn) -> Broken:
    name = draw(WORDS.filter(lambda word: word not in METHODS and word not in TASKS))
    near = draw(st.sampled_from(["feather-3", "feather-3mm", "feather_3m", "fether-3m", "smollm-135m", "smollm2-135"]))
    kind, plan = draw(
        st.sampled_from(
            [
                ("method", changed(("methods", 0, "method"), name)),
                ("method", changed(("methods",), [name])),
                ("method", changed(("methods",), ["untuned"])),
                ("task", changed(("tasks",), [name])),
                ("task", changed(("tasks",), [{"name": name}])),
                ("backbone", changed(("backbones",), [near])),
                ("score", changed(("tasks",), [{**OWN, "scores": [draw(SCORES)]}])),
                ("primary", changed(("tasks",), [{**OWN, "primary": name}])),
            ]
        )
    )
    return dumped(plan, kind)


@st.composite
def duplicates(draw: st.DrawFn) -> Broken:
    method, size = draw(st.sampled_from(list(METHODS))), draw(st.integers(1, 500))
    own, row = draw(WORDS), draw(WORDS)
    key, plan = draw(
        st.sampled_from(
            [
                ("row", changed(("methods",), [method, method])),
                ("row", changed(("methods",), [{"method": method, "row": row}, {"method": "adapter", "row": row}])),
                ("row", {**changed(("methods",), [{"method": method, "row": "untuned"}]), "baselines": ["untuned"]}),
                ("tasks", changed(("tasks",), ["places", "places"])),
                ("tasks", changed(("tasks",), [OWN, {**OWN, "words": own}])),
                ("sizes", changed(("sizes",), [size, size])),
                ("sizes", changed(("sizes",), ["10%", "10 %"])),
                ("sizes", changed(("sizes",), [200, "10%"])),
                ("sizes", changed(("sizes",), ["full", size, "full"])),
                ("backbones", changed(("backbones",), ["feather-3m", "feather-3m"])),
                ("scores", changed(("tasks",), [{**OWN, "scores": ["bleu", "bleu"]}])),
            ]
        )
    )
    return dumped(plan, key, "twice" if key != "row" else "two rows")


NAMES = st.one_of(
    st.sampled_from(
        [
            "../x",
            "..",
            ".",
            "/etc/x",
            "~",
            "~/x",
            "a/b",
            "a\\b",
            "C:\\x",
            "a\x00b",
            "a\nb",
            "a\n",
            "a\r",
            " a",
            "a ",
            "-a",
        ]
    ),
    st.sampled_from(
        ["con", "NUL", "aux.yaml", "Com1", "lpt9.x", "prn", "a.", "a" * 101, "é", "a:b", "a*", "$(x)", "%2e"]
    ),
    st.tuples(WORDS, st.sampled_from(["/", "\\", "\x1b", "\u2028", ":", "?", "|", "<b>", "\ufeff", "\ud7ff/"])).map(
        "".join
    ),
)
NO_PATHS = ["a.txt", "a", "~nobody-of-this-name/a.jsonl", "x" * 256 + ".jsonl", "a\x00.jsonl", "\n.csv", "", " ", ".."]
NO_IDS = ["../../x", "/etc", "a/b/c", "~/x", "a b", "..", "a\\b", "a/..", "http://h/x", ".hidden"]


@st.composite
def hostile_names(draw: st.DrawFn) -> Broken:
    name, path, hub = draw(NAMES), draw(st.sampled_from(NO_PATHS)), draw(st.sampled_from(NO_IDS))
    split = draw(st.sampled_from(["train", "validation", "test"]))
    of_hub = {"name": "own", "hub": "me/mine", "references": "text"}
    windows = name.lower().split(".")[0] in ("con", "nul", "aux", "com1", "lpt9", "prn") or name == "a."
    choices = [
        ("name", changed(("name",), name)),
        ("tasks", changed(("tasks",), [{**OWN, split: path}])),
        ("hub", changed(("tasks",), [{**of_hub, "hub": hub}])),
        (split, changed(("tasks",), [{**of_hub, split: hub}])),
    ]
    if not windows:  # folders of the cache have a version and a hash behind a task's name
        choices.append(("tasks", changed(("tasks",), [{**OWN, "name": name}])))
    key, plan = draw(st.sampled_from(choices))
    return dumped(plan, key)


BUDGETS = st.one_of(
    st.sampled_from(
        ["x%", "%", "0%", "-1%", "101%", "1e400%", "nan%", "inf%", "1%%", "", "1", 0, 2, -0.1, True, [], {}]
    ),
    st.sampled_from([math.nan, math.inf, "0.00001%", "1e-300%", 1e-12, "９９９%", "1 0%", "١٠١%"]),
    WORDS.map(lambda word: f"{word} %"),
    st.floats(100.1, 1e300).map(lambda share: f"{share}%"),
    st.floats(1.01, 1e300),
    NEGATIVE,
).filter(lambda budget: budget != "1")
SIZES = st.one_of(
    st.sampled_from(
        ["0%", "101%", "1e400%", "%", "x%", "-1%", "10", "half", "Full", "", 0, -5, 1.5, True, None, [], {}]
    ),
    st.sampled_from([math.nan, math.inf, "٣%", "9" * 500 + "%", "1%%", 2001, 10**6, 10**400, [20]]),
    WORDS,
    st.integers(2001, 10**30),
    NEGATIVE,
)


@st.composite
def wrong_amounts(draw: st.DrawFn) -> Broken:
    kind = draw(st.sampled_from(["budget", "budget", "sizes", "sizes", "test", "validation", "unsized"]))
    if kind == "budget":
        row = {"method": draw(st.sampled_from(["prefix", "infix"])), "budget": draw(BUDGETS)}
        return dumped(changed(("methods",), [row]), kind)
    if kind == "unsized":
        method = draw(st.sampled_from(["full_ft", "ft_top2"]))
        return dumped(changed(("methods",), [{"method": method, "budget": f"{draw(st.floats(0.1, 99))}%"}]), "budget")
    if kind == "sizes":
        return dumped(changed(("sizes",), [draw(SIZES)]), kind)
    return dumped(changed((kind,), draw(st.integers(2001, LARGEST))), kind)


# --- broken YAML -----------------------------------------------------------------------------------------------------

TEXT = yaml.safe_dump(PLAN, sort_keys=False)
LAST = TEXT.count("\n") + 1
"""The line that follows the plan's text"""
STARTS = [number for number, line in enumerate(TEXT.splitlines()) if line[0].isalpha()]
"""0-based lines at which another key may stand"""


def bomb(levels: int, width: int) -> str:
    """Lists of aliases: width ** levels values in a few lines."""
    lines = ["x0: &x0 [lol]"]
    lines += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


TAGS = [
    "!!python/object/apply:os.system [true]",
    "!!python/name:os.system ''",
    "!!python/object:os.x {}",
    "!!python/module:os ''",
    "!!binary aGk=",
    "!!set {a}",
    "!!omap [a: 1]",
    "!!timestamp 2026-01-01",
    "!local x",
    "!<tag:yaml.org,2002:python/tuple> [1]",
    "!!int x",
    "!!float x",
    "!!bool perhaps",
    "!!int [1]",
    "!!map [1]",
    "!!seq {a: 1}",
    "!!str {a: 1}",
    "=",
]
LINES = st.one_of(
    st.sampled_from(TAGS).map(lambda tag: f"x: {tag}"),
    st.sampled_from(
        ["\tx: 1", "x:\t\t- 1\n\t- 2", "x: [1", "x: {a: 1", "x: 'a", 'x: "a', "x: a: b", "x: *gone", "x: %y", "x: @y"]
    ),
    st.sampled_from(
        ["1: 2", "null: x", "true: x", "no: x", "1.5: x", "[a]: b", "{a: b}: c", "? [a]\n: b", "? {a: 1}\n: b"]
    ),
    st.sampled_from(
        ["x: &a [*a]", "x: &a {b: *a}", "x: &a {<<: *a}", "x: {<<: 5}", "x: {<<: [a]}", "<<: *gone", "x: &a &b c"]
    ),
    st.integers(21, 90).map(lambda depth: "x: " + "[" * depth + "]" * depth),
    st.integers(21, 60).map(lambda depth: "x: " + "{a: " * depth + "1" + "}" * depth),
    st.integers(1001, 6000).map(lambda digits: "x: " + "9" * digits),
    st.tuples(st.integers(15, 60), st.integers(2, 9)).map(lambda shape: bomb(*shape)),
    st.sampled_from(list(PLAN)).map(lambda key: f"{key}: 1"),
    st.tuples(WORDS, st.integers(0, 9)).map(lambda pair: f"x: {{{pair[0]}: {pair[1]}, {pair[0]}: 3}}"),
)


@st.composite
def broken_yaml(draw: st.DrawFn) -> Broken:
    lines = TEXT.splitlines()
    at = draw(st.sampled_from(STARTS[1:]) | st.just(len(lines)))
    kind = draw(st.sampled_from(["line", "line", "line", "character", "bytes", "mark", "documents", "nothing", "size"]))
    if kind == "line":
        wrong = draw(LINES)
        lines.insert(at, wrong)
        return Broken("\n".join(lines).encode(), ("line ",))
    if kind == "character":
        number = draw(st.integers(0, len(lines) - 1))
        lines[number] += draw(
            st.sampled_from([chr(i) for i in range(32) if chr(i) not in "\t\n\r"] + ["\x7f", "\ufffe", "\x9f"])
        )
        return Broken("\n".join(lines).encode(), (f"line {number + 1}",))
    if kind == "bytes":
        number = draw(st.integers(0, len(lines) - 1))
        wrong_bytes = draw(
            st.sampled_from([b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80", b"\x80", b"\xf5\x80\x80\x80"])
        )
        encoded = [line.encode() for line in lines]
        encoded[number] += wrong_bytes
        return Broken(b"\n".join(encoded), (f"line {number + 1}",))
    if kind == "mark":
        lines.insert(at, "\ufeffx: 1")
        return Broken("\n".join(lines).encode(), ("unknown key", "x"))
    if kind == "documents":
        lines.insert(at, draw(st.sampled_from(["---", "---\na: b", "...\n---", "--- {}"])))
        lines.append("---\nx: 1")
        return Broken("\n".join(lines).encode(), ("line ", "document"))
    if kind == "size":
        return Broken(f"{TEXT}# {'x' * draw(st.integers(200_000, 210_000))}".encode(), ("200,000 characters",))
    empty = ["", " ", "\n\n", "# a remark", "---", "null", "[]", "5", "text", "- protocol: 1", "\ufeff"]
    return Broken(draw(st.sampled_from(empty)).encode(), ("mapping",))


PLACES = [
    "https://user:{}@host/a.jsonl",
    "s3://key:{}@bucket/a.jsonl",
    "postgresql://user:{}@127.0.0.1/db",
    "https://host/a.jsonl?token={}",
    "https://host/a.jsonl?X-Amz-Signature={}&x=1",
    "https://{}@host/a.jsonl",
    "ftp://user:{}/+@host/a",
]


@st.composite
def secrets_in_urls(draw: st.DrawFn) -> Broken:
    secret = "Hush" + draw(st.text("abcXYZ019_-+", min_size=4, max_size=12))
    url = draw(st.sampled_from(PLACES)).format(secret)
    path = draw(
        st.sampled_from([("words",), ("backbones", 0), ("tasks", 0), ("methods", 0, "row"), ("name",), ("zzz",)])
    )
    text = yaml.safe_dump(changed(path, url), sort_keys=False)
    form = draw(st.sampled_from(["plain", "remark", "broken", "escaped", "own"]))
    if form == "remark":
        text = f"{TEXT}# as in {url}\n"
    elif form == "broken":
        text = f"{TEXT}x: [{url}\n\t"
    elif form == "escaped":
        escaped = url.replace("/", "\\/").replace(":", "\\x3a")
        text = f'{TEXT}zzz: "{escaped}"\n'
    elif form == "own":
        text = yaml.safe_dump(changed(("tasks",), [{**OWN, "train": url}]), sort_keys=False)
    return Broken(text.encode(), ("a URL holds a password",), secret)


KINDS: dict[str, tuple[Callable[[], st.SearchStrategy[Broken]], int]] = {
    "wrong values": (wrong_values, 300),
    "wrong overrides": (wrong_overrides, 200),
    "unknown keys": (unknown_keys, 200),
    "unknown names": (unknown_names, 40),
    "duplicates": (duplicates, 20),
    "hostile names": (hostile_names, 60),
    "wrong amounts": (wrong_amounts, 120),
    "broken YAML": (broken_yaml, 150),
    "secrets": (secrets_in_urls, 100),
}
"""Strategy, and how many different plans it must give at least"""


def test_there_are_a_thousand_broken_plans() -> None:
    assert sum(least for _, least in KINDS.values()) >= 1000


def fuzzed(strategy: st.SearchStrategy[Any], number: int, check: Callable[[Any], object]) -> None:
    """Check `number` examples, the same ones every time."""

    @settings(
        max_examples=number,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def examine(example: Any) -> None:
        check(example)

    examine()


@pytest.mark.parametrize(("strategy", "least"), KINDS.values(), ids=KINDS)
def test_a_broken_plan_is_one_line_that_names_the_key(
    strategy: Callable[[], st.SearchStrategy[Broken]], least: int
) -> None:
    seen = set()

    def check(plan: Broken) -> None:
        refused(plan)
        seen.add(plan.content)

    fuzzed(strategy(), least + 40, check)
    assert len(seen) >= least


# --- sound plans -----------------------------------------------------------------------------------------------------

ROWS = st.one_of(
    st.sampled_from(["full_ft", "ft_top2", "adapter", "prefix", "infix", "embedding_only"]),
    st.fixed_dictionaries(
        {"method": st.just("prefix")},
        optional={"config": st.fixed_dictionaries({"length": st.integers(1, 20)}), "row": WORDS},
    ),
    st.fixed_dictionaries({"method": st.just("adapter"), "budget": st.sampled_from(["1%", "0.5 %", 0.02, "3%"])}),
)
SOUND = st.fixed_dictionaries(
    {
        "protocol": st.just(1),
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(
            lambda name: (
                name.split(".")[0].lower() not in ("con", "nul", "aux", "prn")
                and name[:3].lower() not in ("com", "lpt")
            )
        ),
        "backbones": st.just(["feather-3m"]),
        "tasks": st.sampled_from([["places"], [OWN]]),
        "methods": st.lists(ROWS, min_size=1, max_size=2, unique_by=lambda row: str(row)[:30]).filter(
            lambda rows: len({r if isinstance(r, str) else r.get("row", r["method"]) for r in rows}) == len(rows)
        ),
        "baselines": st.lists(st.sampled_from(get_args(Baseline)), unique=True),
        "decoding": st.fixed_dictionaries(
            {"max_new_tokens": st.integers(1, 60)}, optional={"beams": st.integers(1, 8)}
        ),
    },
    optional={
        "sizes": st.lists(st.integers(1, 14) | st.just("full"), min_size=1, max_size=2, unique=True),
        "size_unit": st.sampled_from(["pair", "item"]),
        "words": st.sampled_from(["", "task", "describe this:", "naïve ☃ words", "a: b"]),
        "search": st.fixed_dictionaries(
            {}, optional={"configurations": st.integers(0, 3), "sampler": st.sampled_from(["sobol", "tpe"])}
        ),
        "final": st.fixed_dictionaries({}, optional={"seeds": st.integers(1, 9), "draws": st.integers(1, 9)}),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "steps": st.integers(1, 10**6),
                "clip": st.floats(1e-3, 1e3),
                "weight_decay": st.floats(0, 1),
                "patience": st.none() | st.integers(1, 9),
            },
        ),
        "validation": st.none() | st.integers(1, 20),
        "test": st.none() | st.integers(1, 30),
        "precision": st.sampled_from(["float32", "bfloat16", "float64", "auto"]),
        "seed": st.integers(0, LARGEST - 10_000),
    },
)


def test_plans_within_the_allowed_range_are_read() -> None:
    fuzzed(SOUND, 200, lambda plan: read_spec(yaml.safe_dump(plan)))


def test_plans_within_the_allowed_range_are_expanded() -> None:
    def check(plan: dict[str, Any]) -> None:
        Path("plan.yaml").write_text(yaml.safe_dump(plan))
        found = CliRunner().invoke(app, ["plan", "plan.yaml", "--json"])
        assert found.exit_code == 0, f"{plan}\n{found.output}\n{found.exception!r}"
        bare = len(set(plan["baselines"]) - {"default", "direct"})
        searched = plan.get("search", {}).get("configurations", 0) > 0
        prefixes = [
            row for row in plan["methods"] if row == "prefix" or (isinstance(row, dict) and row["method"] == "prefix")
        ]
        configs = [{} if row == "prefix" else row.get("config", {}) for row in prefixes]
        direct = {(config.get("length", 10), searched and "length" in config) for config in configs}
        tuned = len(plan["methods"]) + ("direct" in plan["baselines"]) * len(direct)
        tuned *= 1 + (searched and "default" in plan["baselines"])
        assert len(json.loads(found.stdout)["cells"]) == (bare + tuned) * len(plan.get("sizes", [1]))

    fuzzed(SOUND, 40, check)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + TEXT,
        TEXT.replace("\n", "\r\n"),
        "--- # one document\n" + TEXT + "...\n",
        json.dumps(PLAN, indent=1),
        TEXT + "# a remark: with [brackets, 'quotes and *stars, and https://host:8080/a@b\n",
        TEXT.replace("words: ''", "words: 2026-11-21"),
        TEXT.replace("row: mine", "row: &row mine").replace("words: ''", "words: *row"),
        TEXT.replace("learning_rate: 0.001", "learning_rate: 1e-3"),
        TEXT.replace("final:\n", "final: &final\n")
        .replace("search:\n", "search:\n  <<: {study: 3}\n")
        .replace("  study: 0\n", ""),
    ],
    ids=["byte order mark", "CRLF", "document marks", "JSON", "remark", "date", "alias", "1e-3", "merge"],
)
def test_what_yaml_allows_and_harms_nobody_is_read(text: str) -> None:
    assert read_spec(text).name == "small"
