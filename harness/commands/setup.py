"""Commands about what is here: methods, tasks, backbones, plans, this machine, and the contract tests."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featherbench.harness.commands.completion import complete_names
from featherbench.harness.commands.terminal import (
    ENVIRONMENT,
    USAGE,
    Json,
    Scale,
    mended_errors,
    quiet_libraries,
    say,
    show_json,
)
from featherbench.harness.secrets import without_secrets

if TYPE_CHECKING:
    pass


def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, backbones or plans; default: all")] = "all",
    as_json: Json = False,
) -> None:
    """List methods, tasks, backbones and plans.

    Example:  featherbench list methods
    """
    kinds = ("methods", "tasks", "backbones", "plans")
    if what not in (*kinds, "all"):
        say(f"error: there is nothing called {what!r} to list. Known: {', '.join(kinds)}.", error=True)
        raise typer.Exit(USAGE)
    found: dict[str, dict[str, str]] = {}
    with mended_errors():
        if what in ("methods", "all"):
            from featherbench.methods import METHODS

            found["methods"] = {m.name: m.source for m in METHODS.values()}
        if what in ("tasks", "all"):
            from featherbench.tasks import TASKS

            found["tasks"] = {t.name: f"{t.source} ({t.licence})" for t in TASKS.values()}
        if what in ("backbones", "all"):
            from featherbench.harness.catalogue import BACKBONES

            found["backbones"] = {name: f"{b.about} ({b.licence})" for name, b in BACKBONES.items()}
            found["backbones"]["HUB-ID or FOLDER"] = (
                "any model of the GPT-2, Llama, BART and T5 families with safetensors"
            )
        if what in ("plans", "all"):
            from featherbench.harness.spec import PACKAGED_PLANS

            for path in sorted(PACKAGED_PLANS.glob("*.yaml")):
                lines = path.read_text().splitlines()
                found.setdefault("plans", {})[path.stem] = lines[0].lstrip("# ")
    if as_json:
        show_json(found)
        return
    for kind, entries in found.items():
        say(kind)
        for name, about in entries.items():
            say(f"  {name:<18} {about}")


def info(
    name: Annotated[str, typer.Argument(help="A method, task or backbone", autocompletion=complete_names)],
    as_json: Json = False,
) -> None:
    """Show what is known about a method, task or backbone.

    Example:  featherbench info prefix
    """
    import dataclasses

    from featherbench.harness.catalogue import BACKBONES
    from featherbench.harness.spec import lookup
    from featherbench.methods import METHODS
    from featherbench.tasks import TASKS

    with mended_errors():
        lookup("name", name, {**METHODS, **TASKS, **BACKBONES})
        if name in METHODS:
            m = METHODS[name]
            fields = {f.name: f.default for f in dataclasses.fields(m.config)}
            content: dict[str, Any] = {
                "method": name,
                "version": m.version,
                "source": m.source,
                "config": fields,
                "sized by budget": m.size_field,
                "learning_rate": m.learning_rate,
                "learning_rate_source": m.learning_rate_source,
                "task words": "as initialisation" if m.takes_words else "in the text",
            }
        elif name in TASKS:
            t = TASKS[name]
            content = {
                "task": name,
                "version": t.version,
                "source": t.source,
                "licence": t.licence,
                "scores": [s.name for s in t.scores],
                "primary": t.primary,
                "words": t.words,
                "decoding": dataclasses.asdict(t.decoding),
                "files": {split: [dataclasses.asdict(f) for f in files] for split, files in t.files.items()},
            }
        else:
            from featherbench.harness import backbones

            content = {
                "backbone": name,
                **dataclasses.asdict(BACKBONES[name]),
                "prepared": backbones.is_prepared(name),
            }
            if content["prepared"]:
                shape = backbones.anatomy(name)
                content |= {"parameters": shape.total_parameters, "layers": shape.num_layers, "width": shape.width}
                content["seen in pretraining"] = backbones.pretraining(name).get("seen_tasks", "not told")
    content = json.loads(without_secrets(json.dumps(content)))  # files of a plug-in may have any URL
    if as_json:
        show_json(content)
    else:
        for key, value in content.items():
            say(f"{key:<22} {value}")


def doctor(
    out: Annotated[Path | None, typer.Option("--out", help="Folder of a run, to see what its parts take")] = None,
    as_json: Json = False,
) -> None:
    """Check this machine: Python, packages, memory, disk, accelerator, Java, cache and data folders.

    MEND: something needed is missing, exit code 3. note: without it something less can be done.

    Example:  featherbench doctor --out runs/quickstart
    """
    from featherbench.harness.doctor import examine

    findings = examine(out)
    if as_json:
        show_json([f.__dict__ for f in findings])
    else:
        for f in findings:
            mark = "ok  " if f.ok else "MEND" if f.needed else "note"
            say(f"{mark} {f.what:<16} {f.found}" + ("" if f.ok else f"\n     -> {f.mend}"))
    if not all(f.ok or not f.needed for f in findings):
        raise typer.Exit(ENVIRONMENT)


def prepare(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...|PLAN", help="Backbones, tasks or a plan", autocompletion=complete_names),
    ],
    scale: Scale = None,
) -> None:
    """Fetch and convert what a backbone, a task or a whole plan needs, so that a run starts at once.

    Example:  featherbench prepare smollm2-135m e2e
    """
    quiet_libraries()
    from featherbench.harness import backbones
    from featherbench.harness.catalogue import BACKBONES
    from featherbench.harness.plan import tasks_of
    from featherbench.harness.spec import find_plan, read_spec, read_text
    from featherbench.tasks import TASKS
    from featherbench.tasks.base import SPLITS
    from featherbench.tasks.load import load

    with mended_errors():
        for name in names:
            known = {**TASKS, **BACKBONES}
            spec, folder = None, Path()
            if name not in known and not Path(name).is_dir() and ("/" not in name or Path(name).is_file()):
                path = find_plan(name)
                spec, folder = read_spec(read_text(path), path.name, scale), path.parent
            for backbone in spec.backbones if spec else [] if name in TASKS else [name]:
                backbones.prepare(backbone, say)
                say(f"{backbone}: ready, sha256 {backbones.fingerprint(backbone)[:12]}")
            for task in [t.name for t in tasks_of(spec, folder)] if spec else [name] if name in TASKS else []:
                sizes = ", ".join(f"{split} {len(load(task, split))}" for split in SPLITS)
                say(f"{task}: ready, items: {sizes}")


def cp(
    name: Annotated[str, typer.Argument(metavar="PLAN", help="A packaged plan")],
    destination: Annotated[Path | None, typer.Argument(help="File to write; default: ./PLAN.yaml")] = None,
) -> None:
    """Copy a packaged plan, to change it.

    Example:  featherbench cp quickstart mine.yaml
    """
    with mended_errors():
        from featherbench.harness.spec import find_plan

        source = find_plan(name)
        target = destination or Path(f"{source.stem}.yaml")
        if not target.parent.is_dir():
            say(f"error: there is no folder {target.parent}.", error=True)
            raise typer.Exit(USAGE)
        if target.exists():
            say(f"error: {target} exists already; give another name.", error=True)
            raise typer.Exit(USAGE)
        shutil.copyfile(source, target)
        say(str(target))


def test(
    kind: Annotated[str, typer.Argument(help="method or task")],
    name: Annotated[
        str, typer.Argument(help="Its name; plug-ins count once they are installed", autocompletion=complete_names)
    ],
) -> None:
    """Run the contract tests on one method or task, also a plug-in's.

    Example:  featherbench test method prefix
    """
    if kind not in ("method", "task"):
        say(f"error: {kind!r} has no contract; say `test method NAME` or `test task NAME`.", error=True)
        raise typer.Exit(USAGE)
    with mended_errors():
        import pytest

        import featherbench.contracts
        from featherbench.harness.spec import lookup
        from featherbench.methods import METHODS
        from featherbench.tasks import TASKS

        lookup(kind, name, METHODS if kind == "method" else TASKS)
        os.environ["FEATHERBENCH_CONTRACT"] = name
        folder = Path(featherbench.contracts.__path__[0])
        code = pytest.main(
            [
                str(folder / f"test_{kind}_contract.py"),
                "-v",
                "-rfs",
                "--tb=short",
                "-o",
                "addopts=",
                "-p",
                "no:cacheprovider",
                f"--rootdir={folder}",
            ]
        )
    raise typer.Exit(int(code))
