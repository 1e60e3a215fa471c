"""Backbones are data: weights from safetensors, and no code of a model's folder runs."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from featherbench.harness import backbones
from featherbench.harness.backbones import BackboneError

CODE = "from pathlib import Path\nPath({!r}).touch()\nraise RuntimeError('code of the model ran')\n"


@pytest.fixture
def folder(tiny_llama: str, tmp_path: Path) -> Path:
    """A copy of a tiny backbone, to be spoilt."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def change(file: Path, **entries: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | entries))


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("use", [backbones.fingerprint, backbones.load])
def test_pickled_weights_are_not_read(use: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"trap": Trap(tmp_path / "ran")}, folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"holds no \*\.safetensors but .*; other weight formats are not loaded"):
        use(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["pytorch_model.bin", "../other.safetensors", "/etc/other.safetensors"])
@pytest.mark.parametrize("use", [backbones.fingerprint, backbones.load])
def test_an_index_names_safetensors_beside_it_only(use: Any, part: str, folder: Path) -> None:
    change(folder / "model.safetensors.index.json", weight_map={"lm_head.weight": part})
    with pytest.raises(BackboneError, match=r"names '.*other\.safetensors'|names 'pytorch_model\.bin'"):
        use(str(folder))


def test_an_adapter_of_another_model_is_no_backbone(folder: Path) -> None:
    change(folder / "adapter_config.json", base_model_name_or_path="somebody/else")
    with pytest.raises(BackboneError, match="peft's adapter of another model"):
        backbones.fingerprint(str(folder))


def spoil(folder: Path, mark: Path, model_type: str) -> None:
    """Let configuration and tokenizer name code that lies in the folder."""
    (folder / "evil.py").write_text(CODE.format(str(mark)))
    named = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoModelForCausalLM": "evil.M"}
    change(folder / "config.json", model_type=model_type, auto_map=named)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.T"]})


def test_code_beside_a_known_model_is_ignored(folder: Path, tmp_path: Path) -> None:
    spoil(folder, tmp_path / "ran", "llama")
    assert backbones.load(str(folder)).anatomy.family == "llama"
    assert not (tmp_path / "ran").exists()


def test_a_model_that_needs_its_own_code_is_refused_without_a_question(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(folder, tmp_path / "ran", "evil")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked whether to run the code"))
    with pytest.raises(BackboneError, match="holds no model that transformers can read"):
        backbones.anatomy(str(folder))
    assert not (tmp_path / "ran").exists()


def test_remote_code_is_never_allowed_and_nothing_is_unpickled() -> None:
    root = Path(__file__).parents[1]
    for path in [
        p for part in ("harness", "methods", "tasks", "reports", "backbones") for p in (root / part).rglob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "weights_only"):
                assert isinstance(node.value, ast.Constant) and node.value.value is (node.arg == "weights_only"), path
            if isinstance(node, ast.Attribute) and node.attr == "load" and isinstance(node.value, ast.Name):
                assert node.value.id not in ("torch", "pickle", "dill", "joblib"), path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None)]
                assert not {"pickle", "dill", "joblib", "shelve", "marshal"} & set(names), path
