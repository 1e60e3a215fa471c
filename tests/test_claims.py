"""Claims and comparisons: what can be said, what is answered, at which error, and that every look is on record."""

import json
import math

import known_store
import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner

from featherbench.harness import tables
from featherbench.harness.baselines import name_of, rows_of
from featherbench.harness.cli import app
from featherbench.harness.spec import find_plan, read_spec, read_text
from featherbench.reports import claims
from featherbench.reports.citing import citation, methods_paragraph
from featherbench.reports.claims import answer, looks_table, registered
from featherbench.reports.compare import compare
from featherbench.reports.comparisons import mean_difference
from featherbench.reports.pages.leaderboard import headline_blocks
from featherbench.reports.preregistered import REGISTERED
from featherbench.reports.report import collect
from featherbench.reports.statements import ClaimError, Statement, parse, resolve
from featherbench.reports.statistics import equivalence

HEADLINE = "better > full_ft on places with 50,100,200,500"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run folder of the known store; what tests write into it are looks, which `forgotten` takes away."""
    made = tmp_path_factory.mktemp("known")
    known_store.build(f"sqlite:///{made}/store.sqlite")
    return made


@pytest.fixture(scope="module")
def known(folder):
    return collect(known_store.Store(f"sqlite:///{folder}/store.sqlite"))


@pytest.fixture
def report(known):
    with known.store.transaction() as db:
        db.execute(tables.claims.delete())
    return known


def looks(report):
    return report.store.rows(sa.select(tables.claims).order_by("id"))


# --- what can be said -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "prefix > full_ft on webnlg.unseen at 0.1%",
            Statement(ours="prefix", theirs="full_ft", task="webnlg", subset="unseen", budget=0.001),
        ),
        ("a<b on e2e.paper", None),
        ("a < b on e2e.paper", Statement(ours="b", theirs="a", task="e2e.paper")),
        (
            "prefix-0.1% > full_ft table-to-text: on e2e.test64.gap with sizes 200, 50 of hub/model",
            Statement(
                ours="prefix-0.1%",
                theirs="full_ft table-to-text:",
                task="e2e.test64",
                subset="gap",
                sizes=(50, 200),
                backbone="hub/model",
            ),
        ),
        (
            "(prefix+words - prefix) > ( full_ft, 50 % - a-b (x) ) on e2e.paper.gap with 500",
            Statement(
                ours="(prefix+words - prefix)",
                theirs="(full_ft, 50 % - a-b (x))",
                task="e2e.paper",
                subset="gap",
                sizes=(500,),
            ),
        ),
        ("(a - b) < (c - d) on t", Statement(ours="(c - d)", theirs="(a - b)", task="t")),
        ("row (1f) > (odd) on t", Statement(ours="row (1f)", theirs="(odd)", task="t")),
        ("1) row > 2) row on t", Statement(ours="1) row", theirs="2) row", task="t")),
        ("a > b on t with full", Statement(ours="a", theirs="b", task="t", sizes=(None,))),
        ("a > b on t at 3 % with 100 pairs", Statement(ours="a", theirs="b", task="t", budget=0.03, sizes=(100,))),
    ],
)
def test_a_claim_is_read(text, expected):
    if expected is None:
        with pytest.raises(ClaimError):
            parse(text)
        return
    assert parse(text) == expected
    assert parse(str(expected)) == expected, "its canonical words are a claim, too"


def test_a_difference_of_differences_is_the_same_claim_in_all_its_words():
    found = parse("(a - b) > (c - d) on t with 50")
    assert found.rows == ("a", "b", "c", "d")
    same = {"(a - b) > (c - d)", "(a - c) > (b - d)", "(d - b) > (c - a)", "(d - c) > (b - a)"}
    opposite = {f"{theirs} > {ours}" for ours, theirs in (words.split(" > ") for words in same)}
    assert found.wordings == {f"{words} on t with 50" for words in same | opposite}
    assert all(parse(words).wordings == found.wordings for words in found.wordings)
    assert parse("a > b on t").wordings == {"a > b on t", "b > a on t"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prefix beats full_ft on e2e", "has no '>' or '<'. Write ROW (>|<) ROW on TASK"),
        ("prefix > full_ft", "has no 'on TASK'. Write"),
        ("> full_ft on e2e", "has no a row on each side"),
        ("prefix > full_ft on e2e at 0.1", "'at 0.1' cannot be read"),
        ("prefix > full_ft on e2e with many", "'with many' cannot be read"),
        ("prefix > full_ft on e2e at 300%", "the budget 300% is no share"),
        ("prefix > full_ft on e2e at 0..1%", "the budget 0..1% is no share"),
        ("prefix > full_ft on e2e with 50,50", "name one twice"),
        ("prefix > prefix on e2e", "with itself: name each row once"),
        ("(a - b) > (c - b) on e2e", "compares 'b' with itself: name each row once"),
        (
            "(a - b > (c - d) on e2e",
            "'(a - b' has a bracket without its other one. Write (ROW - ROW) (>|<) (ROW - ROW).",
        ),
        ("(a - b) > c on e2e", "compares a difference with a row. Write ROW > ROW, or (ROW - ROW) (>|<) (ROW - ROW)."),
        ("(a - b - c) > (d - e) on e2e", "'(a - b - c)' can be read in several ways: write one ' - '"),
        (
            "(better - tied) > (short - fulft) on places with 100",
            "no row is named 'fulft' there. Did you mean 'full_ft'?",
        ),
        (
            "(better - tied) > (short - full_ft) on places with 100,200",
            "a size lacks a row: places.test16 with 200 of tiny has only better, tied, full_ft",
        ),
        (
            "full_ft > untuned on places with 100,50",
            "a size lacks a row: places.test16 with 50 of tiny has only full_ft",
        ),
        ("beter > full_ft on places with 100", "no row is named 'beter' there. Did you mean 'better'? Rows: full_ft, "),
        ("better > full_ft on place with 100", "no scores of the task 'place'. Did you mean 'places'?"),
        ("better > full_ft on places with 300", "no scores of the size '300'"),
        ("better > full_ft on places with 100 of tny", "the backbone 'tny'. Did you mean 'tiny'? It has: tiny."),
        ("better > full_ft on places", "several sizes have these rows: add 'with SIZE', or 'with 50,100,200,500'"),
        (
            "short > full_ft on places with 100,200",
            "a size lacks a row: places.test16 with 200 of tiny has only full_ft",
        ),
        ("low > full_ft on webnlg", "no row is named 'full_ft' there"),
        (
            "prefix > full_ft on places with 100",
            "'prefix' stands for several rows on places.test16 with 100 of tiny: give",
        ),
        ("better > full_ft on places at 0.1% with 100", "none of 'better', 'full_ft' was sized for 0.1%"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_allowed(report, text, told):
    with pytest.raises(ClaimError) as error:
        answer(report, text)
    assert told in str(error.value) and "\n" not in str(error.value)
    assert not looks(report)


def test_two_names_of_one_row_are_no_two_rows(report):
    boards = report.boards
    [board] = [board for board in boards if (board.key.task, board.key.size) == ("places", 100)]
    cell = next(row.cell.id for row in board.rows if row.label == "better")
    with pytest.raises(ClaimError, match=f"'better', '{cell}' name one row twice on places.test16 with 100 of tiny"):
        resolve(parse(f"better > {cell} on places with 100"), boards)


def test_a_budget_chooses_the_row_that_was_solved_for_it(tmp_path):
    store = known_store.Store(f"sqlite:///{tmp_path}/store.sqlite")
    cells = [known_store.cell_of("full_ft", 100)]
    cells += [
        known_store.cell_of("better", 100, budget=share).model_copy(update={"row": f"prefix-{share:.1%}"})
        for share in (0.001, 0.01)
    ]
    store.add_plan("p", "p", "", cells)
    for position, cell in enumerate(cells):
        for number in range(3):
            known_store.finish(store, cell, number, known_store.texts("better", 100, number + position))
    boards = collect(store).boards
    found, [(_, ours, theirs)] = resolve(parse("prefix > full_ft on places at 0.1%"), boards)
    assert (ours.label, theirs.label) == ("prefix-0.1%", "full_ft")
    assert str(found) == "prefix > full_ft on places at 0.1% with 100 of tiny"
    with pytest.raises(ClaimError, match="no row is named 'prefix' at 0.3% there"):
        resolve(parse("prefix > full_ft on places at 0.3%"), boards)


# --- what is answered -------------------------------------------------------------------------------------------------


def test_a_finished_headline_comparison_is_answered_at_five_percent_with_holms_p(report):
    found = answer(report, HEADLINE)
    [listed] = [d for d in report.headlines[0].differences if d.ours == "better"]
    assert (found.answer, found.reason) == ("supported", "")
    assert (found.rule.alpha, found.found.p) == (0.05, listed.adjusted_p)
    assert (found.smallest_effect, found.declared) == (1.5, "declared by the plan known")
    assert found.found.interval == listed.found.new_inputs
    assert answer(report, HEADLINE.replace(">", "<")).answer == "contradicted"


def test_another_claim_is_answered_at_a_look_with_its_share_of_the_error(report):
    found = answer(report, "better > full_ft on places with 100")
    assert found.answer == "supported" and found.rule.alpha == 0.0167
    assert found.smallest_effect == 1.0 and found.declared == "the default"
    assert found.found.interval.level == pytest.approx(0.9833)
    assert "in no headline list" in found.rule.words


def test_a_claim_of_lower_scores_is_turned(report):
    found = answer(report, "low > high on webnlg")
    assert found.answer == "supported" and found.estimate > 0 > found.difference.estimate
    assert found.found.interval.low > 0 and looks(report)[0]["estimate"] == found.estimate
    assert answer(report, "high > low on webnlg").answer == "contradicted"


INTERACTION = "(better - tied) > (full_ft - short) on places with 50,100"


def test_a_difference_of_differences_is_answered_like_every_claim(report):
    found = answer(report, INTERACTION)
    statement, contrasts = resolve(parse(INTERACTION), report.boards)
    one = mean_difference(contrasts)
    assert [board.key.size for board, *_ in contrasts] == [50, 100]
    assert [row.label for _, *rows in contrasts for row in rows] == ["better", "tied", "full_ft", "short"] * 2
    assert (found.statement, found.answer, found.estimate) == (statement, "supported", one.estimate)
    assert found.found.interval == one.found.new_inputs.at(1 - 0.0167) and found.found.p == one.found.new_inputs.p
    assert found.rule.alpha == 0.0167 and found.reason == "" and one.detectable > 0
    [look] = looks(report)
    assert (
        look["claim"] == "(better - tied) > (full_ft - short) on places with 50,100 of tiny" and len(look["cells"]) == 8
    )
    assert answer(report, INTERACTION.replace(">", "<")).answer == "contradicted"
    other = answer(report, "(better - full_ft) > (tied - short) on places with 50,100")
    assert other.answer == "supported" and len(other.earlier) == 2, "the same question in other words"


def test_a_difference_of_differences_of_lower_scores_is_turned(tmp_path):
    store = known_store.Store(f"sqlite:///{tmp_path}/store.sqlite")
    rows = {"a + words": "low", "a": "high", "b + words": "short", "b": "better"}
    cells = {
        name: known_store.cell_of(row, None, task="webnlg").model_copy(update={"row": name})
        for name, row in rows.items()
    }
    store.add_plan("p", "p", "", list(cells.values()))
    for name, cell in cells.items():
        for number in range(known_store.SEEDS):
            known_store.finish(store, cell, number, known_store.texts(rows[name], None, number), scores=("ter",))
    report = collect(store)
    ter = {row.label: [run.score("ter", "all").value for run in row.counted] for row in report.boards[0].rows}
    gains = [
        -((w - x) - (y - z)) for w, x, y, z in zip(ter["a + words"], ter["a"], ter["b + words"], ter["b"], strict=True)
    ]
    found = answer(report, "(a + words - a) > (b + words - b) on webnlg")
    assert found.estimate == pytest.approx(sum(gains) / len(gains)) and found.estimate > 1
    assert found.found.interval.low > 0 and found.answer == "supported"
    assert answer(report, "(b + words - b) > (a + words - a) on webnlg").answer == "contradicted"


def test_what_differs_within_one_side_only_resolves_nothing(report):
    found = answer(report, "(longer - tied) > (short - full_ft) on places with 100")
    assert (found.answer, found.reason) == ("not resolved", "the rows were not treated alike: another step cap")


def test_rows_that_are_shown_to_differ_by_little_are_equivalent(report):
    text = "tied > full_ft on places with 50,100,200,500"
    [listed] = [d for d in report.headlines[0].differences if d.ours == "tied"]
    wide = next(m for m in range(1, 50) if equivalence(listed.found.primary, m).holds)
    assert wide > 1
    assert answer(report, text, wide).answer == "equivalent"
    assert answer(report, text, wide - 1).answer == "not resolved"


def test_seven_draws_are_no_look(report):
    found = answer(report, "out_of_memory < better on places with 100")
    assert found.answer == "not resolved"
    assert found.reason == "7 draws are no look: 1 more until the look at 8"
    assert found.found.answer == "supported", "what the numbers alone would say"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("better > longer on places with 100", "the rows were not treated alike: another step cap"),
        ("better > versions on places with 100", "the rows were not treated alike: another method version"),
        ("better > rescored on places with 100", "the trials were scored by different scorers; re-score them"),
    ],
)
def test_rows_that_were_not_treated_alike_resolve_nothing(report, text, reason):
    found = answer(report, text)
    assert (found.answer, found.reason) == ("not resolved", reason)
    assert len(looks(report)) == 1


def test_an_earlier_look_with_fewer_units_makes_a_headline_comparison_another_look(report):
    first = answer(report, HEADLINE)
    report.store.add_claim_look({**first.look, "units": 5, "alpha": 0.0167, "answer": "not resolved"})
    again = answer(report, HEADLINE)
    assert again.rule.alpha == 0.0167 and "looked at before with 5 draws" in again.rule.words
    later = collect(report.store)  # pages and `compare` quote no p that the claim would not have
    [headline], cells = later.headlines, again.difference.cells
    looked, *others = sorted(headline.differences, key=lambda one: one.cells != cells)
    assert (looked.adjusted_p, looked.looked) == (None, "looked at before with 5 draws")
    assert all(one.adjusted_p is not None and not one.looked for one in others)
    [block] = [b for b in headline_blocks(headline, 1) if hasattr(b, "rows")]
    shown = next(row for row in block.rows if row[0].text == f"{looked.ours} − {looked.theirs}")
    assert [entry.text for entry in shown[4:6]] == ["–", "–"] and "looked at before with 5 draws" in shown[6].text
    assert answer(later, HEADLINE).rule.alpha == 0.0167


def test_what_more_would_settle_it_is_told(report):
    text = "tied > full_ft on places with 100"
    _, [pair] = resolve(parse(text), report.boards)
    one = mean_difference([pair])
    floor = claims.item_floor(one.spread, alpha=0.0167)
    assert floor > 0
    assert "no number of draws finds" in answer(report, text, floor * 0.9).settle
    effect = round((floor + one.detectable) / 2, 1)
    needed = one.needed(effect, 0.0167)
    assert 8 < needed < 1000
    assert answer(report, text, effect).settle == (
        f"about {needed - 8} more draws, {needed} in all, would find a difference of {effect:g} in 80 % of repeats"
    )
    assert answer(report, text, 90.0).settle.startswith("these 8 draws would find")


@pytest.mark.parametrize("effect", [0.0, -1.0, math.nan, math.inf])
def test_the_smallest_effect_is_above_zero(report, effect):
    with pytest.raises(ClaimError, match="must be above 0"):
        answer(report, HEADLINE, effect)


# --- every look is on record ------------------------------------------------------------------------------------------


def test_every_look_is_stored_once_and_told_at_the_next(report):
    first = answer(report, HEADLINE)
    assert not first.earlier
    [stored] = looks(report)
    assert {k: v for k, v in stored.items() if k not in ("id", "at")} == first.look
    assert stored["claim"] == "better > full_ft on places with 50,100,200,500 of tiny" and len(stored["cells"]) == 8
    again = answer(report, HEADLINE)
    assert [look["id"] for look in again.earlier] == [stored["id"]]
    assert len(looks(report)) == 1, "nothing changed, so there was nothing new to see"
    turned = answer(report, "full_ft > better on places with 50,100,200,500")
    assert len(turned.earlier) == 1 and len(looks(report)) == 2, "the opposite claim is the same look at the data"
    answer(report, HEADLINE, 3.0)
    assert len(looks(report)) == 3, "another smallest effect is another question"


def test_a_look_whose_data_changed_is_stored_again(report):
    answer(report, HEADLINE)
    with report.store.transaction() as db:
        db.execute(tables.claims.update().values(estimate=0.0))
    answer(report, HEADLINE)
    assert len(looks(report)) == 2


def test_a_page_shows_all_looks(report):
    assert looks_table(report.store) is None
    found = answer(report, HEADLINE)
    answer(report, "better > rescored on places with 100")
    table = looks_table(report.store)
    assert [entry.text for entry in table.header][:4] == ["claim", "answer", "effect", "interval"]
    first, second = table.rows
    assert first[0].text == str(found.statement) and first[1].text == "supported"
    assert first[2].value == found.estimate and first[3].note == "95 %"
    assert [entry.text for entry in second[1:5]] == ["not resolved", "–", "–", "–"]


# --- the registered claims --------------------------------------------------------------------------------------------


def test_the_registered_claims_can_be_asked():
    assert [one.id for one in REGISTERED] == [f"C{i}" for i in range(1, 8)]
    assert [one.smallest_effect for one in REGISTERED] == [1.0, 1.0, 1.5, 2.0, 0.5, 1.0, 1.0]
    for one in REGISTERED:
        assert one.statements
        assert [str(parse(text)) for text in one.statements] == list(one.statements), "in canonical words"


@pytest.mark.parametrize(
    ("claim", "plan", "scale"), [("C6", "paper-initialisation", "smollm2-135m"), ("C7", "default-or-tuned", None)]
)
def test_the_rows_of_registered_interactions_are_in_their_plans(claim, plan, scale):
    [text] = next(one.statements for one in REGISTERED if one.id == claim)
    spec = read_spec(read_text(find_plan(plan)), scale=scale)
    statement = parse(text)
    assert set(statement.rows) <= {name_of(row.given) for row in rows_of(spec)}
    assert tuple(spec.sizes) == statement.sizes
    assert (spec.tasks[0].name, spec.backbones[0]) == (statement.task, statement.backbone)


def test_a_registered_claim_without_trials_says_what_is_missing(report):
    for one, answers in registered(report):
        assert len(answers) == len(one.statements)
        assert all(isinstance(found, str) and found.startswith("the store has no scores of the") for found in answers)
    assert not looks(report)


def test_a_registered_claim_has_its_own_smallest_effect(report, monkeypatch):
    mine = [one for one in REGISTERED if one.id == "C5"][0]
    text = "short > full_ft on places with 100 of tiny"
    monkeypatch.setattr(claims, "REGISTERED", (type(mine)(**{**vars(mine), "statements": (text,)}),))
    found = answer(report, "full_ft < short on places with 100")
    assert (found.smallest_effect, found.declared) == (0.5, "registered for C5")
    [(_, [listed])] = registered(report)
    assert listed.statement == found.statement


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_compare_shows_every_table_that_has_both_and_names_the_others(report):
    found, single = compare(report, "short", "full_ft")
    assert [one.where for one in found] == [
        "places.test16 with 50 of tiny",
        "places.test16 with 100 of tiny",
        "places.test16 with 50,100 (mean) of tiny",
    ]
    assert single == [f"places.test16 with {size} of tiny has only full_ft" for size in (200, 500)]
    assert all(one.difference.adjusted_p is None for one in found), "the list has the mean of four sizes"


def test_compare_quotes_p_only_for_the_headline_comparison(report):
    found, single = compare(report, "full_ft", "better", margin=60.0)
    [listed] = [d for d in report.headlines[0].differences if d.ours == "better"]
    assert [one.difference.adjusted_p for one in found] == [None] * 4 + [listed.adjusted_p]
    assert found[-1].difference.estimate == pytest.approx(-listed.estimate) and not single
    assert found[-1].difference.equivalence.holds and found[-1].difference.equivalence.margin == 60.0


def test_compare_says_what_the_rows_had_alike(report):
    [found], _ = compare(report, "better", "longer")
    assert found.other == ("step cap",) and "step cap" not in found.alike and "search" in found.alike
    (ours, theirs), *_ = found.means
    assert ours.mean - theirs.mean == pytest.approx(found.difference.estimate)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"subset": "unsen"}, "unknown subset 'unsen'. Did you mean 'unseen'?"),
        ({"metric": "blue"}, "unknown score 'blue'. Did you mean 'bleu'?"),
        ({"task": "e2e"}, "no scores of the task 'e2e'"),
        ({"size": 7}, "no scores of the size '7'"),
        ({"margin": 0.0}, "the margin must be above 0, not 0"),
    ],
)
def test_compare_refuses_what_the_store_does_not_have(report, options, told):
    with pytest.raises(ClaimError) as error:
        compare(report, "better", "full_ft", **options)
    assert told in str(error.value)


def test_compare_says_that_no_table_has_both(report):
    with pytest.raises(
        ClaimError, match="no table has all of 'low', 'better': places.test16 with 50 of tiny has only better"
    ):
        compare(report, "low", "better")


# --- commands ---------------------------------------------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_claim_command_answers_people_and_programs(report, folder):
    told = call("claim", HEADLINE, "--out", str(folder))
    assert told.exit_code == 0 and told.stdout.startswith("supported: better > full_ft on places with 50,100,200,500")
    assert "α = 0.05: Holm over the 3 comparisons" in told.stdout
    assert "smallest effect 1.5 (declared by the plan known)" in told.stdout
    read = json.loads(call("claim", HEADLINE, "--out", str(folder), "--json").stdout)
    assert read["answer"] == "supported" and read["new_inputs"]["items"] == 16 and len(read["earlier_looks"]) == 1
    assert read["new_inputs"]["low"] > 0 and read["difference"]["units"] == [f"final{i}" for i in range(8)]


def test_the_claim_command_compares_differences(report, folder):
    told = call("claim", INTERACTION, "--out", str(folder))
    assert told.exit_code == 0 and told.stdout.startswith(
        "supported: (better - tied) > (full_ft - short) on places with"
    )
    read = json.loads(call("claim", INTERACTION, "--out", str(folder), "--json").stdout)
    assert (read["difference"]["ours"], read["difference"]["theirs"]) == ("(better - tied)", "(full_ft - short)")
    assert read["effect"] > 0 and len(read["difference"]["cells"]) == 8 and read["difference"]["awaited"] == []


def test_what_is_not_resolved_is_no_error(report, folder):
    told = call("claim", "better > longer on places with 100", "--out", str(folder))
    assert told.exit_code == 0 and told.stdout.startswith("not resolved: ")
    assert "because the rows were not treated alike: another step cap" in told.stdout


def test_a_mistake_is_a_usage_error_of_one_line(report, folder):
    for arguments in (
        ["claim", "better beats all"],
        ["compare", "beter", "full_ft"],
        ["compare", "a", "b", "--size", "x"],
    ):
        told = call(*arguments, "--out", str(folder))
        assert told.exit_code == 2 and told.stdout == "" and len(told.stderr.splitlines()) == 1
        assert told.stderr.startswith("error: ")
    assert call("claim").exit_code == 2 and call("claim", HEADLINE, "--list").exit_code == 2


def test_the_compare_command_answers_people_and_programs(report, folder):
    told = call("compare", "better", "full_ft", "--out", str(folder), "--size", "100", "--margin", "5")
    assert told.exit_code == 0
    for part in ("no p: not in a headline list", "for new inputs (16 items)", "check: exact sign-flip p", "within ±5"):
        assert part in told.stdout
    read = json.loads(call("compare", "low", "high", "--task", "webnlg", "--out", str(folder), "--json").stdout)
    [one] = read["comparisons"]
    assert one["difference"]["higher_is_better"] is False and one["difference"]["sign_flip_p"] is None
    assert one["difference"]["metric"] == "ter" and read["not_compared"] == []
    assert not looks(report), "a comparison answers no claim"


def test_the_list_of_claims_needs_no_store(report, folder):
    told = call("claim", "--list")
    assert told.exit_code == 0 and all(one.words in told.stdout for one in REGISTERED)
    assert len(json.loads(call("claim", "--list", "--json").stdout)) == 7
    with_store = call("claim", "--list", "--out", str(folder))
    assert with_store.exit_code == 0 and "missing: the store has no scores" in with_store.stdout


# --- to copy ----------------------------------------------------------------------------------------------------------


def test_the_methods_paragraph_is_filled_from_the_store(report):
    text = methods_paragraph(report)
    assert "\n" not in text
    for part in (
        "full_ft, prefix and untuned on places (version 1) and webnlg (version 1) with tiny",
        "155 finished trials, of which 1 failed and 0 diverged",
        "with 5 fresh seeds on all training pairs and on 8 draws of 50, 100, 200 and 500 ",
        "greedily up to 48 new tokens",
        "bleu (places) and ter (webnlg)",
        "3 comparisons with full_ft",
    ):
        assert part in text
    assert "on record" not in text
    answer(report, HEADLINE)
    assert "1 look at claims is on record" in methods_paragraph(report)


def test_the_citation_is_of_the_version_that_is_installed():
    from importlib.metadata import version

    lines = citation().splitlines()
    assert lines[0] == "@software{featherbench," and lines[-1] == "}"
    fields = yaml.safe_load(
        "\n".join(line.strip().rstrip(",").replace(" = ", ": ", 1) for line in lines[1:-1])
        .replace("{", "'")
        .replace("}", "'")
        .replace("''", "'")
    )
    assert {key.strip() for key in fields} == {"title", "author", "version"}
    assert f"version = {{{version('featherbench')}}}," in lines[3] and "{The featherbench contributors}" in lines[2]
