"""The site in a real Chromium, from file://: sort, filter, hover, open a trial; nothing breaks and nothing is loaded."""

import re
import shutil
from pathlib import Path

import pytest
from test_reports import EVIL, cell_of, fill, invented_store, result_of, run, trial_of

from featherbench.harness.records import Prediction
from featherbench.reports.site import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here; pip install '.[test]'")

LONG = "word" * 2_500
PHONE = {"width": 375, "height": 700}


@pytest.fixture(scope="module")
def chromium():
    """A headless browser: the machine's own, or the one that playwright has installed."""
    with playwright.sync_playwright() as driver:
        own = driver.chromium.executable_path
        found = shutil.which("chromium") or shutil.which("google-chrome") or (own if Path(own).exists() else None)
        if found is None:
            pytest.skip("no Chromium here; apt-get install chromium, or playwright install chromium")
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site with a hostile and a very long output, and a second board."""
    parent = tmp_path_factory.mktemp("browser")
    store = invented_store(parent)
    outputs = (Prediction(item=0, text=EVIL, truncated=False), Prediction(item=1, text=LONG, truncated=True))
    run(store, "infix", 7, 50.0, 40.0, predictions=outputs)
    cell = cell_of("full_ft", size=100)
    store.add_plan("p2", "second", "", [cell])
    fill(store, cell, "final", 0, trial_of(cell, 0), result_of(trial_of(cell, 0), 33.0, 33.0))
    write_report(store, parent / "site")
    return parent / "site"


class Visit:
    """A page of the site, with what the browser complained of and asked for."""

    def __init__(self, browser, folder, **how):
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | how))
        self.page = self.context.new_page()
        self.folder, self.complaints, self.requests = folder, [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, path):
        self.page.goto((self.folder / path).as_uri())
        return self.page

    def check(self):
        assert self.complaints == []
        foreign = [url for url in self.requests if not url.startswith((f"{self.folder.as_uri()}/", "data:", "blob:"))]
        assert foreign == [], "no request leaves the site"


@pytest.fixture
def visit(chromium, folder):
    visits = []

    def start(**how):
        visits.append(Visit(chromium, folder, **how))
        return visits[-1]

    yield start
    for one in visits:
        one.check()
        one.context.close()


SCORE = 4
"""Number of the leaderboard's column, behind row, task and size"""


def column(page, number, shown=True):
    cells = page.locator(
        f"table >> nth=0 >> tbody tr{':visible' if shown else ''} >> css=:scope > :nth-child({number})"
    )
    return [text.strip().split("\n")[0] for text in cells.all_inner_texts()]


def means(page):
    return [float(text.split(" ")[0]) for text in column(page, SCORE)]


def wide(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def longest_board(folder):
    return "boards/" + max((folder / "boards").iterdir(), key=lambda path: path.stat().st_size).name


# --- the leaderboard --------------------------------------------------------------------------------------------------


def test_columns_sort_down_up_and_back(visit):
    page = visit().go("index.html")
    plan = means(page)
    header = page.locator(f"table >> nth=0 >> thead th >> nth={SCORE - 1}")
    button = header.get_by_role("button")
    button.click()
    assert means(page) == sorted(plan, reverse=True) and header.get_attribute("aria-sort") == "descending"
    button.click()
    assert means(page) == sorted(plan) and header.get_attribute("aria-sort") == "ascending"
    button.click()
    assert means(page) == plan and header.get_attribute("aria-sort") == "none"


def test_missing_values_are_last_in_both_directions(visit):
    page = visit().go("index.html")
    header = page.locator("table >> nth=0 >> thead th", has_text="training tokens per second")
    number = 1 + page.locator("table >> nth=0 >> thead th").all_inner_texts().index(header.inner_text())
    for _ in range(2):
        header.get_by_role("button").click()
        assert column(page, number)[-1] == "–" and "–" not in column(page, number)[:-1]


def test_the_keyboard_sorts_and_reaches_every_control(visit):
    page = visit().go("index.html")
    plan = means(page)
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.innerText.split('\\n')[0]")
        )
        if reached[-1] == "BUTTON score":
            break
    assert reached[0] == "A Skip to the content" and "SUMMARY How to read this page" in reached
    assert reached.count("INPUT ") == 3, "a bound, a search and the columns left out"
    assert sum(name.startswith("SELECT") for name in reached) == 2, "the filters"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is visible"
    page.keyboard.press("Enter")
    assert means(page) == sorted(plan, reverse=True)


def test_filters_leave_the_rows_that_fit_and_say_how_many(visit):
    page = visit().go("index.html")
    assert page.get_by_text("6 of 6 rows").is_visible()
    page.get_by_label("size").first.select_option(label="100 training pairs")
    assert column(page, 1) == ["full_ft"] and page.get_by_text("1 of 6 rows").is_visible()
    page.get_by_label("size").first.select_option(label="all")
    page.get_by_label("containing").first.fill("FIX ranked")
    assert column(page, 1) == ["prefix", "infix"][: len(column(page, 1))] and len(column(page, 1)) >= 1
    page.get_by_label("containing").first.fill("")
    assert page.get_by_text("6 of 6 rows").is_visible()


def test_rows_are_bounded_by_what_they_store(visit):
    page = visit().go("index.html")
    bound = page.get_by_label("stored, % of total, at most")
    bound.fill("0.2")
    assert sorted(column(page, 1)) == ["infix", "prefix", "untuned"]
    bound.fill("0.092")
    assert sorted(column(page, 1)) == ["infix", "prefix", "untuned"], "0.1 and 0.101 %: within a tenth"
    bound.fill("0.05")
    assert column(page, 1) == ["untuned"] and page.get_by_text("1 of 6 rows").is_visible()
    bound.fill("")
    assert page.get_by_text("6 of 6 rows").is_visible()


def test_columns_without_a_difference_are_left_out_until_asked_for(visit):
    page = visit().go("index.html")
    shown = page.locator("table >> nth=0 >> thead th:visible")
    every = page.locator("table >> nth=0 >> thead th").count()
    narrow = shown.count()
    page.get_by_label("columns in which no rows differ").first.check()
    assert shown.count() == every > narrow
    assert page.locator("table >> nth=0 >> thead th", has_text=re.compile("^backbone")).is_visible()
    page.get_by_label("columns in which no rows differ").first.uncheck()
    assert shown.count() == narrow
    assert not page.locator("table >> nth=0 >> thead th", has_text=re.compile("^backbone")).is_visible()


def test_the_head_of_a_long_table_stays_in_sight(visit):
    page = visit(viewport={"width": 1280, "height": 260}).go("index.html")
    table = page.locator(".scroll").first
    table.evaluate("(one) => { one.scrollTop = one.scrollHeight; }")
    top = "(one) => one.getBoundingClientRect().top"
    head, region = page.locator("thead th").first.evaluate(top), table.evaluate(top)
    assert table.evaluate("(one) => one.scrollTop") > 0 and abs(head - region) < 2


def test_a_dot_tells_what_it_is_and_leads_to_its_trial(visit):
    page = visit().go("index.html")
    dot = page.locator("tbody tr", has_text="untuned").locator("circle.dot").first
    dot.hover()
    assert re.fullmatch(r"place 0, seed 0: 15.0", page.locator("#tip").inner_text())
    dot.click()
    assert page.get_by_role("heading", level=1).inner_text().startswith("Trial ")
    page.get_by_role("link", name="Leaderboard", exact=True).click()
    assert page.get_by_role("heading", level=1).inner_text() == "Leaderboard"


# --- boards and trials ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_drawn_and_tell_exact_values(visit, folder, scheme):
    page = visit(color_scheme=scheme).go(longest_board(folder))
    chart = page.locator("[data-chart]").first
    mark = chart.locator(".mark-symbol path").first
    mark.scroll_into_view_if_needed()
    mark.hover()
    tip = page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible")
    assert "exact" in tip.inner_text() or "bleu" in tip.inner_text()
    page.locator("[data-chart]").nth(1).scroll_into_view_if_needed()
    page.locator("[data-chart] >> nth=1 >> .mark-line path").first.wait_for(state="attached")


def test_lines_of_the_sticky_column_meet_those_of_the_row(visit):
    page = visit().go("index.html")
    tops = page.evaluate(
        "[...document.querySelector('table').querySelectorAll('tbody td:not([hidden])')].map((e) => e.getBoundingClientRect().top)"
    )
    start = tops[0] % 1  # where the text above the table ends
    assert len(tops) > 50 and all(abs(top % 1 - start) < 1e-3 for top in tops), (
        "placed by themselves, cells round alike"
    )


def test_hostile_and_long_outputs_are_text_and_break_nothing(visit, folder):
    [hostile] = [p for p in (folder / "trials").iterdir() if LONG in p.read_text()]
    for how in ({}, {"viewport": PHONE}):
        page = visit(**how).go(f"trials/{hostile.name}")
        assert page.get_by_text("<script>alert(1)</script>").first.is_visible()
        assert page.evaluate("document.scripts.length") == 1
        assert page.evaluate(
            "[...document.querySelectorAll('dd')].some((one) => one.textContent.includes('wordword'.repeat(1250)))"
        )
        assert wide(page) <= 0
        page.go_back()


def test_dark_pages_are_dark_and_can_be_read(visit, folder):
    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for scheme, is_dark in (("light", False), ("dark", True)):
        page = visit(color_scheme=scheme).go("index.html")
        ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert (ground < 0.1) == is_dark
        for selector in ("body", "small", "a[href]", ".lead", "th button", "select"):
            ink = luminance(page.evaluate("(s) => getComputedStyle(document.querySelector(s)).color", selector))
            contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
            assert contrast >= 4.5, f"{selector}, {scheme}: WCAG AA asks for 4.5, found {contrast:.1f}"


@pytest.mark.parametrize("path", ["index.html", "search.html", "provenance.html", "BOARD"])
def test_pages_fit_a_phone(visit, folder, path):
    page = visit(viewport=PHONE, has_touch=True).go(longest_board(folder) if path == "BOARD" else path)
    for fold in page.locator("details:visible").all():
        fold.evaluate("(one) => { one.open = true; }")
    assert wide(page) <= 0


def test_print_opens_what_is_folded_and_fits_the_paper(visit):
    page = visit(viewport={"width": 1047, "height": 720}).go("index.html")  # A4 lengthways less margins of 10 mm
    hidden = page.get_by_text("A board holds the rows of one backbone")
    assert not hidden.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert hidden.is_visible() and not page.locator("nav").is_visible()
    assert not page.locator(".filters").first.is_visible()
    assert wide(page) <= 0


def test_pages_can_be_read_without_javascript(visit, folder):
    page = visit(java_script_enabled=False).go("index.html")
    assert len(column(page, 1)) == 6 and not page.locator(".filters").first.is_visible()
    assert page.locator("th button").count() == 0
