"""A plan is checked before anything trains: what a good one expands to, and what a bad one is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import pytest
import yaml

from featherbench.harness import data
from featherbench.harness.backbones import BackboneError
from featherbench.harness.plan import FINAL_SEEDS, Plan, expand
from featherbench.harness.records import DecodingSettings, Settings, Subset, Trial
from featherbench.harness.spec import Baseline, PlanError, RowSpec, find_plan
from featherbench.methods import METHODS
from featherbench.tasks import TASKS
from featherbench.tasks.places import PLACES

Expand = Callable[..., Plan]


def plan_text(backbone: str, **changes: Any) -> str:
    plan = {
        "protocol": 1,
        "name": "small",
        "backbones": [backbone],
        "tasks": ["places"],
        "sizes": [20],
        "methods": ["prefix"],
        "baselines": [],
        "test": 8,
        "precision": "float32",
    }
    return yaml.safe_dump(plan | changes, sort_keys=False)


@pytest.fixture(scope="module")
def expanded(tiny_llama: str) -> Expand:
    """Expand a small good plan with some keys changed; equal plans once."""
    known: dict[str, Plan] = {}

    def of(**changes: Any) -> Plan:
        text = plan_text(tiny_llama, **changes)
        if text not in known:
            known[text] = expand(text)
        return known[text]

    return of


def row(method: str = "prefix", **fields: Any) -> dict[str, Any]:
    """Changes of the plan: its only row is this one."""
    return {"methods": [{"method": method, **fields}]}


# --- mistakes: what was given, what is allowed, the nearest name ---------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": (
        {"metods": ["prefix"]},
        (
            "unknown key 'metods'",
            "Did you mean 'methods'?",
            "Known: protocol, name, backbones, tasks, sizes, size_unit, methods",
        ),
    ),
    "unknown key far from all": ({"zzz": 1}, ("unknown key 'zzz'. Known: protocol",)),
    "unknown key in search": (
        {"search": {"configuration": 4}},
        ("unknown key 'search.configuration'", "'configurations'?", "Known: configurations, sampler, draws, study"),
    ),
    "headline of an unknown row": (
        {"methods": ["prefix", "full_ft"], "headline": {"reference": "full_ft", "rows": ["prefx"]}},
        ("headline.rows: no row is named 'prefx'", "Did you mean 'prefix'?", "Rows: prefix, full_ft"),
    ),
    "headline with itself": (
        {"headline": {"reference": "prefix", "rows": ["prefix"]}},
        ("headline: 'prefix' stands there twice",),
    ),
    "headline without the task": (
        {
            "methods": ["prefix", "full_ft"],
            "tasks": ["places", "webnlg"],
            "headline": {"reference": "full_ft", "rows": ["prefix"]},
        },
        ("headline.task: give one of the plan's tasks: places, webnlg", "given: None"),
    ),
    "headline of another size": (
        {"methods": ["prefix", "full_ft"], "headline": {"reference": "full_ft", "rows": ["prefix"], "size": 30}},
        ("headline.size: give one of the plan's sizes: 20", "given: 30"),
    ),
    "headline without an effect": (
        {
            "methods": ["prefix", "full_ft"],
            "headline": {"reference": "full_ft", "rows": ["prefix"], "smallest_effect": 0},
        },
        ("headline.smallest_effect", "greater than 0"),
    ),
    "unknown key in final": (
        {"final": {"seed": 4}},
        ("unknown key 'final.seed'", "Did you mean 'seeds'?", "Known: seeds, draws"),
    ),
    "unknown key in training": (
        {"training": {"batchsize": 4}},
        ("unknown key 'training.batchsize'", "Did you mean 'batch_size'?", "warmup_steps", "steps, weight_decay"),
    ),
    "unknown key in a row": (
        row(budgt="1%"),
        ("unknown key 'methods.0.budgt'", "Did you mean 'budget'?", "Known: method, row, config, budget, words"),
    ),
    "unknown key in a method's config": (
        row(config={"lenght": 5}),
        ("unknown key 'lenght' in the config of prefix", "Did you mean 'length'?", "hidden, learning_rate, length"),
    ),
    "unknown key in decoding": (
        {"decoding": {"beam": 2}},
        ("unknown key 'decoding.beam'", "Did you mean 'beams'?", "Known: beams, max_new_tokens, length_penalty"),
    ),
    "unknown method": (
        {"methods": ["prefx"]},
        ("unknown method 'prefx'", "Did you mean 'prefix'?", "Known: " + ", ".join(sorted(METHODS))),
    ),
    "unknown task": (
        {"tasks": ["place"]},
        ("unknown task 'place'", "Did you mean 'places'?", "Known: dart, dart.webnlg_part, e2e, e2e.paper"),
    ),
    "unknown backbone": (
        {"backbones": ["smollm-135m"]},
        ("unknown backbone 'smollm-135m'", "Did you mean 'smollm2-135m'?", "a hub id or a local folder"),
    ),
    "budget below the smallest size": (
        row(budget="0.001%"),
        ("budget 0.0010%", "is impossible for prefix: the nearest is length=1 with 0.29"),
    ),
    "budget of nothing": (row(budget=0), ("methods.0.budget", "greater than 0", "given: 0")),
    "budget for a method without a size": (
        row("ft_top2", budget="1%"),
        ("ft_top2 has no size to solve for", "it always stores", "% of the backbone"),
    ),
    "budget beside the size": (
        row(budget="5%", config={"length": 3}),
        ("prefix: give budget or length, not both",),
    ),
    "budget that is no number": (row(budget="much%"), ("methods.0.budget", "given: 'much%'")),
    "size of zero in a config": (row(config={"length": 0}), ("length must be at least 1; given: 0",)),
    "adapter without a bottleneck": (
        row("adapter", config={"bottleneck": -4}),
        ("bottleneck must be at least 1; given: -4",),
    ),
    "more blocks than the backbone has": (
        row("ft_top2", config={"blocks": 9}),
        ("ft_top2 on ", "blocks is 9, the backbone has 3; give 1 to 3"),
    ),
    "prefix beyond the positions": (
        row(config={"length": 480}),
        ("480 virtual tokens +", "source and separator +", "positions (places, train)", "the backbone has 512"),
    ),
    "infix beyond the positions": (row("infix", config={"length": 480}), ("infix on ", "480 virtual tokens +")),
    "outputs beyond the positions": (
        {"decoding": {"max_new_tokens": 600}},
        ("+ 600 target", "(places, train)", "fewer decoding.max_new_tokens"),
    ),
    "words for a method that takes none": (
        {**row("adapter", words="init"), "words": "task"},
        ("cannot take words as initialisation; use words: text or none",),
    ),
    "two rows of one name": (
        {"methods": ["prefix", {"method": "prefix", "config": {"length": 3}}]},
        ("two rows are named 'prefix'", "`row:`"),
    ),
    "protocol of another version": (
        {"protocol": 2},
        ("says protocol: 2; this featherbench runs protocol: 1", "CHANGELOG.md"),
    ),
    "no protocol": ({"protocol": None}, ("says protocol: None",)),
    "no methods": ({"methods": []}, ("methods:", "at least 1 item", "given: []")),
    "row without a method": ({"methods": [{"row": "mine"}]}, ("methods.0.method: Field required",)),
    "row that is a number": ({"methods": [3]}, ("methods.0:", "given: 3")),
    "methods that are one name": ({"methods": "prefix"}, ("methods:", "valid list", "given: 'prefix'")),
    "name that is no file name": ({"name": "../up"}, ("name:", "given: '../up'")),
    "size in words": ({"sizes": ["half"]}, ("sizes.0", "or full", "given: 'half'")),
    "steps of zero": ({"training": {"steps": 0}}, ("training.steps:", "greater than or equal to 1", "given: 0")),
    "steps in words": ({"training": {"steps": "many"}}, ("training.steps:", "valid integer", "given: 'many'")),
    "training that is a number": ({"training": 5}, ("training:", "given: 5")),
    "no seeds": ({"final": {"seeds": 0}}, ("final.seeds:", "greater than or equal to 1", "given: 0")),
    "unknown sampler": ({"search": {"sampler": "grid"}}, ("search.sampler:", "'sobol' or 'tpe'", "given: 'grid'")),
    "unknown precision": ({"precision": "float16"}, ("precision", "'bfloat16'", "given: 'float16'")),
    "unknown way to give words": (row(words="some"), ("methods.0.words", "'init'", "given: 'some'")),
    "config value of a wrong type": (
        row(config={"length": "long"}),
        ("config of prefix: length:", "valid integer", "given: 'long'"),
    ),
    "config value that is no choice": (
        row(config={"parametrisation": "lstm"}),
        ("config of prefix: parametrisation:", "'mlp' or 'direct'", "given: 'lstm'"),
    ),
    "learning rate in words": (
        row(config={"learning_rate": "fast"}),
        ("config of prefix:", "valid number", "given: 'fast'"),
    ),
    "outputs that must be longer than they may be": (
        {"decoding": {"max_new_tokens": 4, "min_new_tokens": 5}},
        ("decoding:", "min_new_tokens: must not be above max_new_tokens, which is 4", "given: 5"),
    ),
    "decoding value of a wrong type": (
        {"decoding": {"beams": "five"}},
        ("decoding:", "beams:", "valid integer", "given: 'five'"),
    ),
}


@pytest.mark.parametrize(("changes", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_mend(changes: dict[str, Any], parts: tuple[str, ...], tiny_llama: str) -> None:
    with pytest.raises(PlanError) as caught:
        expand(plan_text(tiny_llama, **changes))
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert "\n" not in message


def test_sizes_and_rows_are_explained_in_the_plans_own_words(tiny_llama: str) -> None:
    with pytest.raises(PlanError) as caught:
        expand(plan_text(tiny_llama, sizes=[0, True, "half"], methods=[3, "prefix"]))
    size = "a size is a whole number of training pairs, at least 1, a percentage of the distinct inputs such as 10%, or full; "
    size += "given: "
    wanted = [f"sizes.0: {size}0", f"sizes.1: {size}True", f"sizes.2: {size}'half'"]
    wanted += ["methods.0: a row is a method's name, or a mapping with the key method; given: 3"]
    assert str(caught.value) == f"plan: {' '.join(wanted)}"


def test_several_mistakes_are_told_at_once(tiny_llama: str) -> None:
    with pytest.raises(PlanError) as caught:
        expand(plan_text(tiny_llama, tset=3, final={"seeds": 0}, training={"step": 3}))
    assert all(part in str(caught.value) for part in ("'tset'", "final.seeds", "'training.step'"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [", "mine.yaml is no valid YAML: .* line 1, column 5"),
        ("- protocol: 1", "mine.yaml must be a mapping"),
        ("", "mine.yaml must be a mapping"),
        ("protocol: 1\nname: mine\n", "backbones: Field required tasks: Field required methods: Field required"),
    ],
    ids=["broken YAML", "a list", "nothing", "half a plan"],
)
def test_a_text_that_is_no_plan_is_refused_by_its_file_name(text: str, part: str) -> None:
    with pytest.raises(PlanError, match=part):
        expand(text, "mine.yaml")


def test_yaml_cannot_make_objects(tiny_llama: str) -> None:
    with pytest.raises(PlanError, match="no valid YAML"):
        expand(plan_text(tiny_llama) + "\nseed: !!python/object/apply:os.getpid []\n")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sizes": [2001]}, "size 2001 is larger than the 2000 inputs that final draws may use"),
        (
            {"sizes": [1001], "search": {"configurations": 2}},
            "size 1001 is larger than the 1000 inputs that final draws may use. The search has the other half",
        ),
        ({"validation": 201}, "a validation set of 201 is larger than the 200 inputs"),
        ({"test": 281}, "281 items were asked for, the split has 280"),
    ],
    ids=["training", "training beside a search", "validation", "test"],
)
def test_more_data_than_there_is_cannot_be_asked_for(changes: dict[str, Any], part: str, tiny_llama: str) -> None:
    with pytest.raises(PlanError, match=part):
        expand(plan_text(tiny_llama, **changes))


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(BackboneError, match="there is no folder './gone'.*smollm2-135m"):
        expand(plan_text("./gone"))


def test_a_plan_name_with_a_typing_error_gets_the_nearest_packaged_one() -> None:
    with pytest.raises(PlanError, match="no plan file 'quickstar'. Did you mean 'quickstart'\\? Packaged plans: "):
        find_plan("quickstar")


# Values that would train nothing, fail later or mean something else than they say.
SENSELESS: dict[str, dict[str, Any]] = {
    "no training pairs": {"sizes": [0]},
    "fewer than no training pairs": {"sizes": [-5]},
    "no validation pairs": {"validation": 0},
    "fewer than no validation pairs": {"validation": -3},
    "no test items": {"test": 0},
    "fewer than no test items": {"test": -3},
    "empty batches": {"training": {"batch_size": 0}},
    "no evaluation, so that step 0 is always the best": {"training": {"evaluations": 0}},
    "no patience, so that training never starts": {"training": {"patience": 0}},
    "gradients clipped to nothing": {"training": {"clip": 0}},
    "negative weight decay": {"training": {"weight_decay": -1}},
    "negative learning rate": row(config={"learning_rate": -1e-3}),
    "learning rate that is no number": row(config={"learning_rate": float("nan")}),
    "negative steps": row(config={"steps": -3}),
    "no beams": {"decoding": {"beams": 0}},
    "a minimum below zero": {"decoding": {"min_new_tokens": -1}},
    "outputs without tokens": {"decoding": {"max_new_tokens": 0}},
    "budget that is not a number": row(budget=float("nan")),
    "MLP without a hidden unit": row(config={"hidden": 0}),
    "words as initialisation, but no words": row(words="init"),
}


@pytest.mark.parametrize("changes", SENSELESS.values(), ids=SENSELESS)
def test_a_senseless_value_is_refused(changes: dict[str, Any], tiny_llama: str) -> None:
    with pytest.raises(PlanError):
        expand(plan_text(tiny_llama, **changes))


def test_the_largest_size_a_search_may_choose_must_fit_the_positions(expanded: Expand) -> None:
    fits = {"decoding": {"max_new_tokens": 360}}
    expanded(**fits)
    with pytest.raises(PlanError, match="40 virtual tokens"):
        expanded(**fits, search={"configurations": 4})


# --- what a good plan expands to -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "share"),
    [("0.1%", 0.001), ("0.3 %", 0.003), ("1%", 0.01), ("100%", 1.0), (0.03, 0.03), ("3e-2", 0.03), (None, None)],
)
def test_budgets_are_shares_or_percents(written: Any, share: float | None) -> None:
    assert RowSpec(method="prefix", budget=written).budget == share


def test_a_budget_solves_for_the_size_and_says_so(expanded: Expand) -> None:
    (cell,) = expanded(**row(budget="3%")).cells
    assert cell.counts.stored == pytest.approx(0.03 * cell.counts.total, rel=0.1)
    assert cell.base.config["length"] * 2 * 3 * 2 * 8 == cell.counts.stored  # L tokens, 3 layers, 2 heads of width 8
    assert cell.origins["length"].startswith("solved for budget 3")


def test_numbers_may_be_written_with_an_exponent(expanded: Expand) -> None:
    """YAML reads 1e-3 as text; a plan means the number."""
    (cell,) = expanded(**row(config={"learning_rate": "1e-3"}), training={"weight_decay": "1e-2"}).cells
    assert (cell.base.learning_rate, cell.base.weight_decay) == (0.001, 0.01)


def test_every_value_says_where_it_came_from(expanded: Expand) -> None:
    (cell,) = expanded(**row(config={"length": 7, "learning_rate": 0.5})).cells
    assert cell.base.config["length"] == 7 and cell.base.learning_rate == 0.5
    assert cell.origins["length"] == cell.origins["learning_rate"] == "plan"
    assert cell.origins["hidden"] == "method default"
    (default,) = expanded().cells
    assert METHODS["prefix"].learning_rate_source in default.origins["learning_rate"]


def test_cells_are_backbones_by_tasks_by_sizes_by_rows_and_untuned_stands_first(
    tiny_llama: str, tiny_gpt2: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "places.twin", dataclasses.replace(PLACES, name="places.twin"))
    changes = {
        "backbones": [tiny_llama, tiny_gpt2],
        "tasks": ["places", "places.twin"],
        "sizes": [20, "full"],
        "methods": ["prefix", {"method": "adapter", "row": "adapter, wide"}],
        "baselines": ["untuned"],
    }
    found = [(c.cell.backbone, c.cell.task, c.cell.size, c.cell.row) for c in expand(plan_text("", **changes)).cells]
    assert found == [
        (backbone, task, size, name)
        for backbone in (tiny_llama, tiny_gpt2)
        for task in ("places", "places.twin")
        for size in (20, None)
        for name in ("untuned", "prefix", "adapter, wide")
    ]


def test_the_search_phase_comes_first_and_untuned_needs_one_trial(expanded: Expand) -> None:
    plan = expanded(baselines=["untuned"], search={"configurations": 2, "draws": 3}, final={"seeds": 2, "draws": 2})
    untuned, prefix = plan.cells
    assert list(untuned.places()) == [("final", 0)]
    assert list(prefix.places()) == [*(("search", i) for i in range(2 * 3)), *(("final", i) for i in range(2 * 2))]
    assert untuned.base.steps == 0


def test_trials_search_on_validation_items_and_end_on_test_items(expanded: Expand) -> None:
    (cell,) = expanded(search={"configurations": 2}).cells
    search, final = cell.trial("search", 0, {}), cell.trial("final", 0, {})
    assert search.evaluate == search.validation and search.evaluate.split == "validation"
    assert final.evaluate.split == "test" and final.evaluate.name == "test8"


def test_a_copy_of_a_trial_with_other_values_has_an_id_of_its_own(expanded: Expand) -> None:
    """The id is worked out once for a record."""
    one = expanded().cells[-1].base
    other = one.model_copy(update={"seed": one.seed + 1})
    assert other.id != one.id == one.model_copy().id == Trial.model_validate(one.model_dump()).id
    assert other.id == Trial.model_validate(other.model_dump()).id
    assert other.model_copy(update={"seed": one.seed}) == one
    cell = expanded().cells[-1].cell
    renamed = cell.model_copy(update={"row": "another"})
    assert renamed.id != cell.id and renamed.content["row"] == "another"


def test_the_default_validation_set_of_low_data_is_30_percent(expanded: Expand) -> None:
    assert expanded().cells[0].base.validation.size == 6
    assert expanded(sizes=["full"]).cells[0].base.validation.size is None
    assert expanded(validation=9).cells[0].base.validation.size == 9


def test_outputs_are_scored_against_the_items_in_the_order_of_the_predictions(expanded: Expand) -> None:
    (cell,) = expanded(search={"configurations": 2, "draws": 2}).cells
    for phase in ("search", "final"):
        trial = cell.trial(phase, 1, {})
        assert list(data.references(trial.task, trial.evaluate)) == data.items(trial.task, trial.evaluate)


# --- task words ----------------------------------------------------------------------------------------------------


def test_task_words_go_to_every_method_as_initialisation_where_it_can_take_them(expanded: Expand) -> None:
    plan = expanded(words="task", methods=list(METHODS), baselines=["untuned", "untuned+words"])
    found = {c.cell.row: (c.base.words_as, c.base.words) for c in plan.cells}
    assert found.pop("untuned") == ("none", "")
    assert found.pop("untuned+words") == ("text", PLACES.words)
    assert found == {m.name: ("init" if m.takes_words else "text", PLACES.words) for m in METHODS.values()}
    assert {"init", "text"} == {way for way, _ in found.values()}


def test_words_may_be_the_plans_own_and_a_row_may_go_without(expanded: Expand) -> None:
    plan = expanded(
        words="say:",
        methods=["prefix", {"method": "prefix", "row": "bare", "words": "none"}],
        baselines=["untuned", "untuned+words"],
    )
    found = {c.cell.row: (c.base.words_as, c.base.words) for c in plan.cells}
    assert found == {
        "untuned": ("none", ""),
        "untuned+words": ("text", "say:"),
        "prefix": ("init", "say:"),
        "bare": ("none", ""),
    }


def test_a_row_may_have_words_of_its_own(expanded: Expand) -> None:
    rows = [{"method": "prefix", "row": own or "no words", "own_words": own} for own in ("task", "banana", None)]
    found = {c.cell.row: (c.base.words_as, c.base.words) for c in expanded(methods=rows).cells}
    assert found == {"task": ("init", PLACES.words), "banana": ("init", "banana"), "no words": ("none", "")}


# --- rows that every board has -------------------------------------------------------------------------------------


ALL = {"baselines": list(get_args(Baseline))}
SOBOL = {"sampler": "sobol", "draws": 1, "study": 0}


def rows(plan: Plan) -> list[str]:
    return [c.cell.row for c in plan.cells]


def test_every_board_has_its_baselines_unless_the_plan_says_which(tiny_llama: str, expanded: Expand) -> None:
    plan = yaml.safe_load(plan_text(tiny_llama))
    del plan["baselines"]
    bare = ["untuned", "untuned+words", "copy"]
    assert rows(expand(yaml.safe_dump(plan))) == [*bare, "prefix", "prefix, direct"]
    assert rows(expanded(baselines=["copy", "direct"])) == ["copy", "prefix", "prefix, direct"]
    assert rows(expanded(methods=["full_ft", "adapter"], **ALL)) == [*bare, "full_ft", "adapter"]


def test_with_a_search_every_searched_row_stands_beside_its_default_configuration(expanded: Expand) -> None:
    plan = expanded(methods=["full_ft", "prefix"], search={"configurations": 2}, final={"seeds": 3}, **ALL)
    searched = {c.cell.row: c for c in plan.cells if c.base.steps}
    assert list(searched) == [
        *("full_ft", "full_ft, default"),
        *("prefix", "prefix, default", "prefix, direct", "prefix, direct, default"),
    ]
    for name, cell in searched.items():
        assert (cell.num_search, cell.num_final) == (0 if name.endswith("default") else 2, 3)
        assert cell.cell.fixed["search"] == ({} if name.endswith("default") else {"configurations": 2, **SOBOL})
    assert searched["prefix, direct, default"].base.learning_rate == METHODS["prefix"].direct_learning_rate
    for name in ("full_ft", "prefix"):
        tuned, default = searched[name], searched[f"{name}, default"]
        assert [tuned.trial("final", n, {}).id for n in range(3)] == [
            default.trial("final", n, {}).id for n in range(3)
        ]
        assert tuned.cell.id != default.cell.id


def test_a_prefix_without_mlp_is_treated_as_the_row_it_comes_from(expanded: Expand) -> None:
    given = {"length": 7, "learning_rate": 0.01}
    prefix, direct = expanded(**row(config=given, budget=None, words="none"), baselines=["direct"]).cells
    assert direct.base.config == {**prefix.base.config, "parametrisation": "direct"}
    same = ("learning_rate", "steps", "weight_decay", "settings", "train", "validation", "evaluate", "words_as", "seed")
    assert [getattr(direct.base, name) for name in same] == [getattr(prefix.base, name) for name in same]
    assert direct.counts.trained == direct.counts.stored == prefix.counts.stored < prefix.counts.trained
    assert (direct.origins["parametrisation"], direct.origins["learning_rate"]) == ("plan's baselines", "plan")
    sized = expanded(**row(budget="3%"), baselines=["direct"]).cells
    assert sized[1].origins["learning_rate"] == "plan's baselines"
    assert sized[1].counts.stored == sized[0].counts.stored
    assert sized[1].base.learning_rate == METHODS["prefix"].direct_learning_rate > sized[0].base.learning_rate


def test_a_row_that_the_plan_has_already_is_not_doubled(expanded: Expand) -> None:
    own = {"method": "prefix", "row": "mine", "config": {"parametrisation": "direct"}}
    assert rows(expanded(methods=["prefix", own], **ALL))[3:] == ["prefix", "mine"]
    faster = {**own, "config": {"parametrisation": "direct", "learning_rate": 0.1}}
    assert rows(expanded(methods=["prefix", faster], **ALL))[3:] == ["prefix", "mine"]
    other = {**own, "config": {"parametrisation": "direct", "length": 5}}
    assert rows(expanded(methods=["prefix", other], **ALL))[3:] == ["prefix", "prefix, direct", "mine"]
    spelt_out = {**own, "config": {"parametrisation": "direct", "length": 10}}
    assert rows(expanded(methods=["prefix", spelt_out], **ALL))[3:] == ["prefix", "mine"]
    searched = expanded(methods=["prefix", spelt_out], search={"configurations": 2}, baselines=["direct"])
    assert rows(searched) == ["prefix", "prefix, direct", "mine"], "the plan fixes the length of one, not of the other"


def test_a_copy_of_the_source_is_one_trial_that_trains_nothing(expanded: Expand) -> None:
    (cell, _) = expanded(baselines=["copy"], search={"configurations": 2}, final={"seeds": 3}).cells
    assert list(cell.places()) == [("final", 0)]
    assert (cell.base.method, cell.base.steps, cell.base.words) == ("copy_source", 0, "")
    assert (cell.counts.trained, cell.counts.stored) == (0, 0)


def test_the_bare_backbone_gets_the_words_of_the_task_where_the_plan_has_none(expanded: Expand) -> None:
    found = {c.cell.row: c.base.words for c in expanded(**ALL).cells}
    assert found == {**dict.fromkeys(found, ""), "untuned+words": PLACES.words}


@pytest.mark.parametrize("name", ["copy_source", "untuned"])
def test_a_baseline_is_no_method(name: str, expanded: Expand) -> None:
    with pytest.raises(PlanError, match=f"unknown method '{name}'"):
        expanded(methods=[name])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"baselines": ["untuned", "copie"]}, "baselines.1: Input should be 'untuned', 'untuned.words', 'copy'"),
        ({"baselines": ["copy", "copy"]}, "baselines: copy stands there twice; remove one"),
        ({"baselines": True}, "baselines: true and false are not allowed here"),
        ({**ALL, "methods": [{"method": "adapter", "row": "copy"}]}, "two rows are named 'copy'"),
        (
            {**ALL, "methods": ["prefix", {"method": "adapter", "row": "prefix, direct"}]},
            "two rows are named 'prefix, d",
        ),
    ],
    ids=["unknown", "twice", "a truth value", "a row of a baseline's name", "a row of a variant's name"],
)
def test_baselines_are_checked(changes: dict[str, Any], part: str, expanded: Expand) -> None:
    with pytest.raises(PlanError, match=part):
        expanded(**changes)


def test_baselines_change_no_id(expanded: Expand) -> None:
    """Of trials and cells that stood without them."""
    few, many = expanded(search={"configurations": 2}), expanded(search={"configurations": 2}, **ALL)
    same = {c.cell.row: c for c in many.cells}
    assert [c.cell.id for c in few.cells] == [same[c.cell.row].cell.id for c in few.cells]
    assert [c.trial("search", 1, {}).id for c in few.cells] == [
        same[c.cell.row].trial("search", 1, {}).id for c in few.cells
    ]


# --- scales --------------------------------------------------------------------------------------------------------

SCALES = {"smoke": {"sizes": [4], "methods": ["adapter", "infix"]}, "full-size": {"sizes": ["full"]}}


def test_a_scale_takes_the_place_of_the_plans_keys(tiny_llama: str) -> None:
    text = plan_text(tiny_llama, scales=SCALES)
    plain, smoke = expand(text), expand(text, scale="smoke")
    assert (plain.name, smoke.name) == ("small", "small.smoke")
    assert [(c.cell.size, c.cell.row) for c in plain.cells] == [(20, "prefix")]
    assert [(c.cell.size, c.cell.row) for c in smoke.cells] == [(4, "adapter"), (4, "infix")]
    assert {c.base.evaluate.size for c in smoke.cells} == {8}, "the rest is the plan's"
    same = expand(plan_text(tiny_llama, **SCALES["smoke"]))
    assert [c.base.id for c in smoke.cells] == [c.base.id for c in same.cells], "a trial does not know its scale"
    assert len({plain.id, smoke.id, same.id}) == 3


def test_scales_do_not_change_what_the_plan_itself_is(tiny_llama: str, expanded: Expand) -> None:
    assert [c.cell.id for c in expand(plan_text(tiny_llama, scales=SCALES)).cells] == [
        c.cell.id for c in expanded().cells
    ]


@pytest.mark.parametrize(
    ("scales", "scale", "part"),
    [
        (SCALES, "smok", "unknown scale 'smok'. Did you mean 'smoke'\\? Known: full-size, smoke"),
        ({}, "smoke", "mine.yaml has no scales; given: 'smoke'. Leave --scale out"),
        ({"smoke": {"backbone": 1}}, None, "mine.yaml, scale smoke: unknown key 'backbone'. Did you mean 'backbones'"),
        ({"smoke": {"final": {"seeds": 0}}}, None, "mine.yaml, scale smoke: final.seeds: .* given: 0"),
        ({"smoke": {"name": "other"}}, None, "mine.yaml, scale smoke: a scale cannot change name; remove it there"),
        ({"smoke": {"scales": {}, "protocol": 1}}, None, "a scale cannot change protocol, scales"),
        ({"../up": {}}, None, "scale ../up: name: .* given: 'small.../up'"),
        ({"smoke": [1]}, None, "scales.smoke: .* given: \\[1\\]"),
        (["smoke"], None, "scales: .* given: \\['smoke'\\]"),
    ],
    ids=["unknown", "none", "unknown key", "wrong value", "name", "its own scales", "no file name", "a list", "names"],
)
def test_a_mistake_in_a_scale_is_named_whichever_is_run(
    scales: Any, scale: str | None, part: str, tiny_llama: str
) -> None:
    with pytest.raises(PlanError, match=part):
        expand(plan_text(tiny_llama, scales=scales), "mine.yaml", scale=scale)


# --- what a trial is -----------------------------------------------------------------------------------------------

SUBSET = Subset(name="train20.final0", split="train", size=20, draw="final0", sha256="ab")
TRIAL = Trial(
    protocol=1,
    backbone="bone",
    backbone_sha256="cd",
    method="prefix",
    method_version=1,
    config={"length": 10},
    learning_rate=1e-3,
    weight_decay=0.0,
    steps=100,
    task="places",
    task_version=1,
    train=SUBSET,
    validation=SUBSET.model_copy(update={"split": "validation"}),
    evaluate=SUBSET.model_copy(update={"split": "test"}),
    settings=Settings(),
    decoding=DecodingSettings(beams=5, max_new_tokens=64, length_penalty=1.0),
    words="",
    words_as="none",
    seed=1000,
    precision="float32",
)
OTHER: dict[str, Any] = {
    "protocol": 2,
    "backbone": "bone2",
    "backbone_sha256": "ce",
    "method": "infix",
    "method_version": 2,
    "config": {"length": 11},
    "learning_rate": 1.0000001e-3,
    "weight_decay": 0.01,
    "steps": 101,
    "task": "e2e",
    "task_version": 2,
    "train": SUBSET.model_copy(update={"sha256": "ac"}),
    "validation": SUBSET,
    "evaluate": SUBSET,
    "settings": Settings(batch_size=9),
    "decoding": DecodingSettings(beams=4, max_new_tokens=64, length_penalty=1.0),
    "words": "say:",
    "words_as": "text",
    "seed": 1001,
    "precision": "bfloat16",
    "data_sha256": "ef",
    "definition": {"name": "mine", "files": {"train": {"path": "/a", "sha256": "01", "hub": None}}},
}


def test_the_id_of_a_trial_is_forever() -> None:
    """Another id for the same content would orphan every stored result. To recompute: print(TRIAL.id)."""
    assert TRIAL.id == "22d1c7663b3e"


def test_equal_trials_share_an_id_also_after_a_journey_as_json() -> None:
    again = Trial.model_validate_json(TRIAL.model_dump_json())
    assert again == TRIAL and again.id == TRIAL.id


def test_names_that_change_no_number_are_no_part_of_the_id() -> None:
    """A backbone counts by its sha256 and a subset by its index list, wherever the folder lies."""
    assert TRIAL.model_copy(update={"backbone": "elsewhere"}).id == TRIAL.id
    assert TRIAL.model_copy(update={"train": TRIAL.train.model_copy(update={"name": "other"})}).id == TRIAL.id


@pytest.mark.parametrize("field", [f for f in Trial.model_fields if f != "backbone"])
def test_every_field_of_a_trial_is_part_of_its_id(field: str) -> None:
    assert TRIAL.model_copy(update={field: OTHER[field]}).id != TRIAL.id


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_of_the_training_is_part_of_the_id(field: str) -> None:
    other = TRIAL.settings.model_copy(update={field: 77})
    assert TRIAL.model_copy(update={"settings": other}).id != TRIAL.id


def test_equal_plans_give_equal_ids(tiny_llama: str, expanded: Expand) -> None:
    first, again = expanded(), expand(plan_text(tiny_llama))
    assert first.id == again.id
    assert [c.cell.id for c in first.cells] == [c.cell.id for c in again.cells]
    assert first.cells[0].trial("final", 0, {}).id == again.cells[0].trial("final", 0, {}).id


def test_names_of_plan_and_row_are_no_part_of_a_trial(expanded: Expand) -> None:
    """So that another plan finds what is finished already."""
    named = expanded(name="other", methods=[{"method": "prefix", "row": "the prefix"}])
    assert named.id != expanded().id
    assert named.cells[0].trial("final", 0, {}).id == expanded().cells[0].trial("final", 0, {}).id


def test_more_seeds_keep_the_trials_that_are_there(expanded: Expand) -> None:
    (few,), (many,) = expanded(final={"seeds": 2}).cells, expanded(final={"seeds": 5}).cells
    assert [few.trial("final", n, {}).id for n in range(2)] == [many.trial("final", n, {}).id for n in range(2)]


def test_the_final_trials_of_all_methods_are_paired(expanded: Expand) -> None:
    plan = expanded(methods=["full_ft", "prefix", "infix"], final={"seeds": 3, "draws": 2}, baselines=["untuned"])
    untuned, *tuned = ([c.trial("final", n, {}) for n in range(c.num_final)] for c in plan.cells)
    for trials in zip(*tuned, strict=True):
        assert len({(t.seed, t.train, t.validation, t.evaluate) for t in trials}) == 1
    assert [t.seed for t in tuned[0]] == [FINAL_SEEDS + n for n in range(6)]
    assert [t.train.draw for t in tuned[0]] == ["final0"] * 3 + ["final1"] * 3
    assert untuned[0].evaluate == tuned[0][0].evaluate


def test_search_and_final_draws_share_no_training_item_and_no_seed(expanded: Expand) -> None:
    (cell,) = expanded(search={"configurations": 2, "draws": 3}, final={"seeds": 2, "draws": 3}, sizes=[200]).cells
    search = [cell.trial("search", n, {}) for n in range(cell.num_search)]
    final = [cell.trial("final", n, {}) for n in range(cell.num_final)]

    def items(trials: list[Trial]) -> set[int]:
        return {item for t in trials for item, _ in data.checked_indices(t.task, t.train)}

    assert len(items(search)) > 200 and len(items(final)) > 200
    assert not items(search) & items(final)
    assert not {t.seed for t in search} & {t.seed for t in final}


def test_a_configuration_reaches_the_trial(expanded: Expand) -> None:
    (cell,) = expanded(search={"configurations": 2}).cells
    chosen = {"learning_rate": 0.5, "steps": 3, "weight_decay": 0.01, "length": 7}
    trial = cell.trial("final", 0, chosen)
    assert (trial.learning_rate, trial.steps, trial.weight_decay, trial.config["length"]) == (0.5, 3, 0.01, 7)
    assert {k: v for k, v in trial.config.items() if k != "length"} == {
        k: v for k, v in cell.base.config.items() if k != "length"
    }
