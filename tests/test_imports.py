"""What a result follows from is read from the imports, not kept as a list."""

import shutil

import pytest

from lib import imports
from lib.backends.engines import ENGINES
from lib.uid import measures


def of_scoring(backend: str) -> set[str]:
    return set(imports.closure("lib.surprisal.scoring", ENGINES[backend].reading_module))


def test_surprisals_follow_from_all_that_their_own_engine_imports():
    ours = of_scoring("transformers")
    assert {
        f"lib.backends.{name}" for name in ("transformers_models", "memory", "weights", "softmax")
    } <= ours
    assert {"lib.surprisal.rows", "lib.backends.windows", "lib.surprisal.words"} <= ours
    assert "lib.backends.llama_cpp_model" not in ours
    others = of_scoring("llama_cpp")
    assert "lib.backends.llama_cpp_model" in others
    assert "lib.backends.transformers_models" not in others
    assert "lib.backends.transformers_models" not in of_scoring("openai")


def test_no_data_follow_from_figures_or_reports():
    roots = ["lib.surprisal.scoring", *measures.CODE, "lib.compare.comparison", "lib.compare.hypotheses"]
    roots += [engine.reading_module for engine in ENGINES.values()]
    assert not [name for name in imports.closure(*roots) if name.startswith(("lib.figures", "lib.reports"))]


def test_a_changed_line_changes_the_hash_of_what_imports_it_and_of_nothing_else(tmp_path, monkeypatch):
    shutil.copytree(imports.LIB, tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(imports, "LIB", tmp_path / "lib")

    def hashes() -> dict[str, str]:
        found = {b: imports.code_hash("lib.surprisal.scoring", ENGINES[b].reading_module) for b in ENGINES}
        return found | {"uid": imports.code_hash(*measures.CODE)}

    before = hashes()
    for file, changed in (
        ("backends/transformers_models.py", {"transformers", "vllm"}),
        ("figures/effects.py", set()),
        ("reports/page.py", set()),
        ("uid/series.py", {"uid"}),
        ("surprisal/words.py", set(ENGINES)),
    ):
        path = tmp_path / "lib" / file
        content = path.read_text()
        path.write_text(content + "\n# changed\n")
        assert {name for name, value in hashes().items() if value != before[name]} == changed, file
        path.write_text(content)
    with pytest.raises(ModuleNotFoundError, match=r"lib\.nothing"):
        imports.closure("lib.nothing")


def test_imports_within_functions_do_not_count_and_those_under_a_condition_do(tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "LIB", tmp_path)
    (tmp_path / "room").mkdir()
    for name in ("room/__init__", "room/one", "two", "three", "four", "five", "paths"):
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "a.py").write_text(
        "import lib.two\nfrom lib.room import one\nfrom lib import paths\n"
        "if True:\n    from lib import three\n\n\ndef f():\n    from lib import four\n"
    )
    (tmp_path / "three.py").write_text("from lib.five import x\nimport lib.a\n")
    assert imports.closure("lib.a") == ("lib.a", "lib.five", "lib.room.one", "lib.three", "lib.two")
