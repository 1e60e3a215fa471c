"""The search phase: points that depend on nothing but their number, and a memory that is the store's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import qmc

from featherbench.harness.plan import CellPlan, expand
from featherbench.harness.records import PROTOCOL, Result, ScoreValue
from featherbench.harness.run import Sweep
from featherbench.harness.search import DIMENSIONS, Search, chosen, sobol_configuration, space
from featherbench.harness.spec import PlanError
from featherbench.harness.status import num_trials
from featherbench.harness.store import Store
from featherbench.reports.budget import budgets
from featherbench.reports.claims import answer
from featherbench.reports.report import collect
from featherbench.reports.site import write_report
from featherbench.reports.spending import ledger

UNIT = {f"d{k}": FloatDistribution(0.0, 1.0) for k in range(DIMENSIONS)}
CellOf = Callable[..., CellPlan]


@pytest.fixture(scope="module")
def cell_of(tiny_llama: str) -> CellOf:
    """Return the one cell of a small plan with a search, some keys changed."""

    def of(
        method: str = "prefix",
        search: dict[str, Any] | None = None,
        final: dict[str, Any] | None = None,
        sizes: tuple[int | str, ...] = (20,),
        **fields: Any,
    ) -> CellPlan:
        plan = {
            "protocol": PROTOCOL,
            "name": "small",
            "backbones": [tiny_llama],
            "tasks": ["places"],
            "sizes": [*sizes],
            "methods": [{"method": method, **fields}],
            "baselines": [],
            "test": 8,
            "training": {"steps": 100},
            "search": {"configurations": 8, **(search or {})},
            "final": final or {},
        }
        return expand(yaml.safe_dump(plan)).cells[0]

    return of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.sqlite")


def searching(cell: CellPlan, store: Store) -> Search:
    store.add_plan("plan", "plan", "", [cell.cell])
    return Search(cell, store)


def quality(configuration: dict[str, Any]) -> float:
    """A score with its best value inside the range."""
    return -abs(math.log(configuration["learning_rate"] / 4e-3)) - abs(configuration["length"] - 10) / 20


# --- points --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", [0, 1, 7])
def test_configurations_are_a_slice_of_scipys_scrambled_sobol_sequence(study: int) -> None:
    sequence = qmc.Sobol(DIMENSIONS, scramble=True, rng=PROTOCOL * 1_000_003 + study).random(16)
    found = [list(sobol_configuration(UNIT, study, number).values()) for number in range(16)]
    assert found == sequence.tolist()


def test_a_configuration_is_a_function_of_dimensions_study_and_number() -> None:
    backwards = {n: sobol_configuration(UNIT, 0, n) for n in reversed(range(8))}
    assert backwards == {n: sobol_configuration(UNIT, 0, n) for n in range(8)}


def test_another_study_has_other_points() -> None:
    points = [tuple(sobol_configuration(UNIT, study, number).values()) for study in range(4) for number in range(8)]
    assert len(set(points)) == len(points)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (CategoricalDistribution(["a", "b", "c", "d"]), {"a", "b", "c", "d"}),
        (IntDistribution(3, 6), {3, 4, 5, 6}),
        (IntDistribution(1, 4, log=True), {1, 2, 3, 4}),
    ],
    ids=["categorical", "integer", "integer, log"],
)
def test_sixteen_points_reach_every_choice(distribution: Any, expected: set[Any]) -> None:
    found = [sobol_configuration({"x": distribution}, 0, number)["x"] for number in range(16)]
    assert set(found) == expected
    if not isinstance(distribution, IntDistribution) or not distribution.log:
        assert all(found.count(value) == 4 for value in expected), "scrambled Sobol points fill equal intervals equally"


def test_the_learning_rate_range_is_three_decades_around_the_methods_default(cell_of: CellOf) -> None:
    for method in ("full_ft", "prefix", "embedding_only"):
        cell = cell_of(method)
        dimension = space(cell)["learning_rate"]
        assert isinstance(dimension, FloatDistribution) and dimension.log
        assert dimension.high / dimension.low == pytest.approx(1000)
        assert math.sqrt(dimension.low * dimension.high) == pytest.approx(cell.method.learning_rate)


def test_two_methods_search_the_same_point_of_the_unit_cube(cell_of: CellOf) -> None:
    def unit(cell: CellPlan, number: int) -> tuple[float, int, float]:
        dimensions = space(cell)
        found = sobol_configuration(dimensions, 0, number)
        rate = dimensions["learning_rate"]
        assert isinstance(rate, FloatDistribution)
        place = math.log(found["learning_rate"] / rate.low) / math.log(rate.high / rate.low)
        return round(place, 12), found["steps"], found["weight_decay"]

    full_ft, prefix = cell_of("full_ft"), cell_of("prefix")
    for number in range(8):
        assert unit(full_ft, number) == unit(prefix, number)


def test_dimensions_have_a_fixed_order(cell_of: CellOf) -> None:
    assert list(space(cell_of("prefix"))) == ["learning_rate", "steps", "weight_decay", "length"]
    assert list(space(cell_of("full_ft"))) == ["learning_rate", "steps", "weight_decay"]
    steps = space(cell_of("full_ft"))["steps"]
    assert isinstance(steps, CategoricalDistribution)
    assert steps.choices == (25, 50, 100), "no configuration exceeds the step cap"


@pytest.mark.parametrize("field", ["learning_rate", "steps", "weight_decay", "length"])
def test_what_the_plan_fixes_is_not_searched(cell_of: CellOf, store: Store, field: str) -> None:
    value = {"learning_rate": 0.02, "steps": 60, "weight_decay": 0.5, "length": 3}[field]
    cell = cell_of(config={field: value})
    assert field not in space(cell)
    number, configuration = searching(cell, store).propose() or (None, {})
    assert field not in configuration
    trial = cell.trial("search", 0, configuration)
    assert value == (trial.config["length"] if field == "length" else getattr(trial, field))


def test_the_size_that_a_budget_solves_for_is_not_searched(cell_of: CellOf) -> None:
    cell = cell_of(budget="3%")
    assert list(space(cell)) == ["learning_rate", "steps", "weight_decay"]
    assert cell.trial("search", 0, sobol_configuration(space(cell), 0, 3)).config == cell.base.config


def test_fixing_one_dimension_leaves_the_others_at_their_points(cell_of: CellOf, store: Store) -> None:
    free, fixed = cell_of(), cell_of(config={"learning_rate": 0.02})
    for number in range(8):
        (_, all_values), (_, values) = (
            searching(cell, store).propose() if number == 0 else Search(cell, store).propose() for cell in (free, fixed)
        )
        assert values == {k: v for k, v in all_values.items() if k != "learning_rate"}


# --- the search of a cell ------------------------------------------------------------------------------------------


def test_a_proposal_is_stored_before_it_runs(cell_of: CellOf, store: Store) -> None:
    cell = cell_of()
    search = searching(cell, store)
    for expected in range(3):
        number, configuration = search.propose() or (None, {})
        assert number == expected
        assert store.proposed(cell.cell.id)[expected] == configuration == search.configuration(expected)


def test_sobol_proposals_are_the_points_of_their_numbers(cell_of: CellOf, store: Store) -> None:
    cell = cell_of(search={"study": 3})
    search = searching(cell, store)
    for number in range(8):
        assert search.propose() == (number, sobol_configuration(space(cell), 3, number))
    assert search.propose() is None, "eight configurations were planned"


@pytest.mark.parametrize(
    "sampler",
    ["sobol", "tpe"],
)
def test_a_search_rebuilt_from_the_store_goes_on_as_if_nothing_had_happened(
    cell_of: CellOf, tmp_path: Path, sampler: str
) -> None:
    cell = cell_of(search={"sampler": sampler})
    found: dict[str, list[dict[str, Any]]] = {}
    best = {}
    for kind in ("kept", "rebuilt"):
        store = Store(f"sqlite:///{tmp_path}/{kind}.sqlite")
        search = searching(cell, store)
        found[kind] = []
        for number in range(8):
            if kind == "rebuilt":
                search = Search(cell, store)
                for earlier in range(number):
                    search.tell(earlier, quality(found[kind][earlier]))
            _, configuration = search.propose() or (None, {})
            found[kind].append(configuration)
            search.tell(number, quality(configuration))
        best[kind] = search.best()
    assert found["rebuilt"] == found["kept"]
    assert best["rebuilt"] == best["kept"] == max(found["kept"], key=quality)


def test_tpe_starts_with_sobol_points_and_leaves_them_for_better_ones(cell_of: CellOf, store: Store) -> None:
    cell = cell_of(search={"sampler": "tpe", "configurations": 12})
    search = searching(cell, store)
    while proposal := search.propose():
        search.tell(proposal[0], quality(proposal[1]))
    points = [sobol_configuration(space(cell), 0, n) for n in range(12)]
    found = store.proposed(cell.cell.id)
    assert [found[n] for n in range(3)] == points[:3]
    assert all(found[n] != points[n] for n in range(3, 12))


def test_every_search_draw_of_a_configuration_is_a_trial_of_its_own(cell_of: CellOf, store: Store) -> None:
    search = searching(cell_of(search={"draws": 3}), store)
    search.propose()
    search.propose()
    places, trials = zip(*search.trials_of(1), strict=True)
    assert places == (3, 4, 5)
    assert [t.train.draw for t in trials] == ["search0", "search1", "search2"]
    assert {t.learning_rate for t in trials} == {search.configuration(1)["learning_rate"]}


def told(search: Search, scores: list[float | None]) -> Search:
    for score in scores:
        number, _ = search.propose() or (-1, {})
        search.tell(number, score)
    return search


def test_a_failed_configuration_counts_as_spent(cell_of: CellOf, store: Store) -> None:
    search = told(searching(cell_of(search={"configurations": 3}), store), [None, 1.0, None])
    assert search.complete and search.propose() is None
    assert search.best() == search.configuration(1)


def test_if_all_configurations_failed_the_defaults_go_to_the_final_phase(cell_of: CellOf, store: Store) -> None:
    cell = cell_of(search={"configurations": 2})
    search = told(searching(cell, store), [None, None])
    assert search.complete and search.best() == {}
    assert cell.trial("final", 0, search.best()) == cell.base


def test_the_best_is_the_highest_score_and_the_earlier_one_of_equals(cell_of: CellOf, store: Store) -> None:
    search = told(searching(cell_of(), store), [0.0, 7.5, 2.0, 7.5, None, 7.5, 1.0, -1.0])
    assert search.best() == search.configuration(1)


def test_a_score_once_told_stays(cell_of: CellOf, store: Store) -> None:
    search = told(searching(cell_of(search={"configurations": 2}), store), [1.0, 2.0])
    search.tell(0, 9.0)
    assert search.best() == search.configuration(1)


def test_a_search_is_complete_when_every_configuration_is_told(cell_of: CellOf, store: Store) -> None:
    search = told(searching(cell_of(search={"configurations": 3}), store), [1.0, 2.0])
    assert not search.complete
    number, _ = search.propose() or (-1, {})
    assert not search.complete
    search.tell(number, 0.5)
    assert search.complete


# --- a search for each replicate (estimand: procedure) ------------------------------------------------------------------

OWN = {"draws": 3, "seeds": 2, "estimand": "procedure"}


def test_each_draw_has_a_search_of_its_own(cell_of: CellOf, store: Store) -> None:
    cell = cell_of(search={"configurations": 2, "draws": 2, "study": 5}, final=OWN)
    assert (cell.studies, cell.num_search, cell.num_final) == (3, 3 * 2 * 2, 6)
    assert [cell.study_of(number) for number in range(6)] == [0, 0, 1, 1, 2, 2], "two seeds on each draw"
    search = searching(cell, store)
    proposed = [search.propose() for _ in range(6)]
    points = [(number, sobol_configuration(space(cell), 5 + number // 2, number % 2)) for number in range(6)]
    assert proposed == points and search.propose() is None
    trials = [[trial for _, trial in search.trials_of(number)] for number in range(6)]
    draws = [[trial.train.draw for trial in of_number] for of_number in trials]
    assert draws == [["search0", "search1"]] * 2 + [["search2", "search3"]] * 2 + [["search4", "search5"]] * 2
    assert [{trial.seed for trial in of_number} for of_number in trials] == [{0}, {0}, {1}, {1}, {2}, {2}]
    for number, score in enumerate([1.0, 2.0, 9.0, 3.0, None, None]):
        assert not search.complete
        search.tell(number, score)
    choice = search.best()
    assert choice == {"studies": [points[1][1], points[2][1], {}]}, "the third failed: its defaults go on"
    assert [chosen(cell, choice, number) for number in range(6)] == [points[1][1]] * 2 + [points[2][1]] * 2 + [{}] * 2


def test_the_first_search_is_that_of_a_plan_with_one(cell_of: CellOf) -> None:
    own, one = cell_of(final=OWN), cell_of(final={"draws": 3, "seeds": 2})
    assert own.cell.id != one.cell.id and "estimand" not in one.cell.fixed["final"]
    places = range(one.num_search)
    assert [own.trial("search", n, {}) for n in places] == [one.trial("search", n, {}) for n in places]
    assert [own.trial("final", n, {}) for n in range(6)] == [one.trial("final", n, {}) for n in range(6)]


@pytest.mark.parametrize(
    ("sizes", "final", "studies"),
    [
        ((20,), {"draws": 1, "seeds": 3}, 3),
        (("full",), {"draws": 1, "seeds": 3}, 3),
        ((20,), {"draws": 4, "seeds": 3}, 4),
    ],
    ids=["one draw", "whole split", "draws"],
)
def test_where_all_share_the_pairs_the_seed_is_the_replicate(
    cell_of: CellOf, sizes: tuple[int | str, ...], final: dict[str, Any], studies: int
) -> None:
    assert cell_of(sizes=sizes, final={**final, "estimand": "procedure"}).studies == studies
    assert cell_of(sizes=sizes, final=final).studies == 1
    assert (
        cell_of(sizes=sizes, final={**final, "estimand": "procedure"}, config={"learning_rate": 1e-3}).studies
        == studies
    )


@pytest.mark.parametrize(
    ("search", "words"),
    [({"configurations": 0}, "there is no search"), ({"sampler": "tpe"}, "search.sampler tpe")],
    ids=["none", "adaptive"],
)
def test_an_own_search_is_refused_where_there_is_none_or_an_adaptive_one(
    cell_of: CellOf, search: dict[str, Any], words: str
) -> None:
    with pytest.raises(PlanError, match=words):
        cell_of(search=search, final=OWN)


def test_a_sweep_gives_each_draw_what_its_own_search_chose_and_reports_say_so(tiny_llama: str, tmp_path: Path) -> None:
    plan = expand(
        yaml.safe_dump(
            {
                "protocol": PROTOCOL,
                "name": "own",
                "backbones": [tiny_llama],
                "tasks": ["places"],
                "sizes": [20],
                "methods": ["prefix", "full_ft"],
                "baselines": ["default"],
                "test": 8,
                "training": {"steps": 100},
                "search": {"configurations": 3},
                "final": {"draws": 3, "estimand": "procedure"},
            }
        )
    )
    kept = Store(f"sqlite:///{tmp_path}/store.sqlite")

    def run(most: int) -> int:
        """Run by a driver of its own, each trial's score a function of its learning rate and seed."""
        with Sweep(plan=plan, store=kept) as sweep:
            for ran in range(most):
                with sweep.turn():
                    job = sweep.begin_next()
                    if job is None:
                        return ran
                    score = 50 + 10 * math.sin(1e4 * job.trial.learning_rate + job.trial.seed)
                    bleu = ScoreValue(metric="bleu", subset="all", value=score, signature="bleu")
                    sweep.keep([(job, Result(trial_id=job.trial.id, status="ok", scores=(bleu,)))])
        return most

    assert run(7) == 7, "interrupted"
    assert run(1000) == 4 * 3 + 2 * 9 - 7
    assert run(1000) == 0
    report = collect(kept)
    for cell in plan.cells:
        best = {s.study: s.best.trial.learning_rate for s in report.searches if s.cell.id == cell.cell.id and s.best}
        final = {r.number: r.trial for r in report.contents.runs if r.cell.id == cell.cell.id and r.phase == "final"}
        if cell.search.configurations:
            assert list(best) == [0, 1, 2] and {n: t.learning_rate for n, t in final.items()} == best
            assert len(set(best.values())) == 3
        else:
            assert {t.learning_rate for t in final.values()} == {cell.base.learning_rate}
    rows = {line.cell.row: line for line in ledger(report.contents, report.searches)}
    assert (rows["prefix"].estimand, rows["prefix"].given) == ("procedure", "3 searches, one for each replicate")
    assert (rows["prefix"].configurations, rows["prefix"].draws, rows["prefix"].search.trials) == (9, 3, 9)
    assert rows["prefix, default"].estimand == "configuration"
    assert [num_trials(cell.cell) for cell in plan.cells] == [cell.num_search + cell.num_final for cell in plan.cells]
    assert {one.curve.studies for one in budgets(report.searches)} == {3}
    found = answer(report, "(prefix - full_ft) > (prefix, default - full_ft, default) on places", 1.0)
    assert (found.difference.unit, len(found.difference.units), found.difference.unlike) == ("draw", 3, ())
    write_report(kept, tmp_path / "site")
    board = next((tmp_path / "site" / "boards").iterdir()).read_text()
    assert "procedure: each draw has a search of its own" in board
