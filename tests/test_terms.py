"""The page of terms: words of the site, and what the files of methods, tasks and backbones say of themselves."""

from dataclasses import fields

import pytest
import site_store as invented

from featherbench.methods import BASELINES, BUILT_IN
from featherbench.reports.described import about, options
from featherbench.reports.pages import terms
from featherbench.reports.report import collect
from featherbench.tasks import TASKS

ITEMS = invented.some_items(1, 6)


@pytest.mark.parametrize("method", [method.name for method in (*BUILT_IN, *BASELINES.values())])
def test_every_method_tells_what_it_is_and_what_its_options_are(method):
    assert len(about("methods", method)) > 40
    config = next((one.config for one in BUILT_IN if one.name == method), None)
    assert set(options(method)) == ({field.name for field in fields(config)} if config else set())


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_tells_what_it_is(task):
    assert len(about("tasks", task)) > 20


@pytest.mark.parametrize("name", ["nobody", "../pyproject", "base/../prefix", "", "Prefix", "prefix\n"])
def test_a_name_that_is_no_file_of_ours_is_told_nothing(name):
    assert (about("methods", name), options(name)) == ("", {})


def test_the_page_has_the_methods_task_and_backbone_of_the_site_and_no_other(tmp_path):
    report = collect(invented.full_store(tmp_path, ITEMS, methods=["prefix", "full_ft"]))
    found = {block.title: block for block in terms.page(report).blocks if hasattr(block, "rows")}
    runs = report.contents.runs
    assert {row[0].text for row in found["Methods"].rows} == {run.trial.method for run in runs}
    assert {row[0].text for row in found["Options of methods"].rows} == {"prefix"}
    assert {row[0].text for row in found["Tasks"].rows} == {run.trial.task for run in runs}
    assert {row[0].text for row in found["Backbones"].rows} == {run.trial.backbone for run in runs}
    assert "Prefix-tuning" in {row[0].text: row[1].text for row in found["Methods"].rows}["prefix"]


def test_no_term_is_explained_twice():
    names = [term for term, _ in terms.TERMS]
    assert len(set(names)) == len(names)
