"""What runs, what is done, and how one declares what is one's own."""

import shutil

import pytest
import yaml

from lib import paths, progress
from lib.errors import StudyError
from lib.params import load_source
from lib.running import declare, status, study
from tests.backends.test_transformers_gguf import header
from tests.conftest import REPOSITORY


def test_status_tells_what_is_missing_what_is_stale_and_why(finished_study):
    assert set(status.status("demo")["state"]) == {"done"}
    file = paths.source_file("tiny-rlhf")
    content = file.read_text()
    file.write_text(content + "# changed\n")
    table = status.status("demo").set_index(["step", "of"])
    file.write_text(content)
    assert table.loc[("01_generate", "notes tiny-rlhf"), "state"] == "stale"
    assert "params/tiny-rlhf.yaml" in table.loc[("01_generate", "notes tiny-rlhf"), "why"]
    assert table.loc[("01_generate", "notes tiny-base"), "state"] == "done"
    assert table.loc[("04_compare", "all"), "state"] == "stale"


DATA = {"documents", "01_generate", "02_surprisal", "03_uid", "04_compare", "hypotheses"}


def test_a_changed_figure_is_no_matter_of_data_and_a_changed_engine_one_of_its_surprisals(
    finished_study, tmp_path, monkeypatch
):
    shutil.copytree(REPOSITORY / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(study, "SNAKEFILE", shutil.copy(REPOSITORY / "Snakefile", tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the graph is asked of the copy
    assert set(status.status("demo")["state"]) == {"done"}
    stale = {}
    for file in ("figures/effects.py", "backends/transformers_models.py", "backends/llama_cpp_model.py"):
        path = tmp_path / "lib" / file
        content = path.read_text()
        path.write_text(content + "\n# changed\n")
        table = status.status("demo")
        stale[file] = set(table.loc[table["state"] == "stale", "step"])
        path.write_text(content)
    for file in ("figures/effects.py", "backends/llama_cpp_model.py"):
        assert not stale[file] & DATA
        assert {"reports 01 to 03", "report 04_compare", "front_page"} <= stale[file]
    # The graph cannot know yet whether other surprisals give other measures.
    assert stale["backends/transformers_models.py"] & DATA == {
        "02_surprisal",
        "03_uid",
        "04_compare",
        "hypotheses",
    }


def test_status_of_a_new_study_is_missing_everywhere(small_study):
    table = status.status("small")
    assert set(table.loc[table["step"] == "01_generate", "state"]) == {"missing"}
    with pytest.raises(StudyError, match="did you mean 'small'"):
        status.status("smal")


def test_a_comparison_waits_for_the_scorer_that_it_names(small_study):
    file = paths.study_file("small")
    declared = yaml.safe_load(file.read_text()) | {"scorers": ["tiny-scorer", "tiny-base"]}
    declared["comparisons"]["other"] = declared["comparisons"]["all"] | {"scorer": "tiny-base"}
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    table = status.status("small")
    assert "notes tiny-rlhf tiny-base" in set(table.loc[table["step"] == "03_uid", "of"])
    assert set(table["state"]) == {"missing"}
    assert ("paper_notebook", "") in set(zip(table["step"], table["of"], strict=True))


def test_a_bar_keeps_the_line_of_its_notebook_up_to_date(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FOLDER, str(tmp_path))
    with progress.running("02_surprisal tiny-base"):
        assert progress.lines(tmp_path) == ["02_surprisal tiny-base"]
        with progress.Bar(total=10, mininterval=0, miniters=1) as bar:
            bar.set_postfix_str("99 tokens/s")
            bar.update(5)
            (line,) = progress.lines(tmp_path)
            assert line.startswith("02_surprisal tiny-base")
            assert "50%, 99 tokens/s" in line
            assert line.endswith("left")
    assert progress.lines(tmp_path) == []


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("~/models/mine", {"backend": "transformers", "model": "~/models/mine"}),
        ("org/name", {"backend": "transformers", "model": "org/name"}),
        ("~/m.Q8_0.gguf", {"backend": "llama_cpp", "file": "~/m.Q8_0.gguf"}),
        (
            "http://localhost:1234/v1",
            {"backend": "openai", "model": "m", "base_url": "http://localhost:1234/v1"},
        ),
    ],
)
def test_a_model_is_declared_by_where_it_is(project, model, weights):
    file = declare.declare_model("m", model, "instruct")
    assert yaml.safe_load(file.read_text())["weights"] == weights
    declared = load_source("m")
    assert declared.text_class == "instruct"
    assert declared.chat


def test_a_gguf_file_that_fits_is_read_without_a_compiler(project, monkeypatch):
    file = REPOSITORY / "data" / "models" / "tiny-base" / "q8_0.gguf"
    declare.declare_model("fits", str(file), "base")
    assert load_source("fits").weights.backend == "transformers"
    monkeypatch.setattr(declare, "memory", lambda: 20)  # MB; in float32 the model has 16
    declare.declare_model("large", str(file), "base")
    assert load_source("large").weights.backend == "llama_cpp"
    other = header(project / "other.gguf", architecture="phi3")
    monkeypatch.setattr(declare, "memory", lambda: 10_000)
    assert declare._of_gguf(str(other)) == {"backend": "llama_cpp", "file": str(other)}
    cut = project / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(StudyError, match=r"cut\.gguf is not a whole GGUF file"):
        declare.declare_model("cut", "cut.gguf", "base")


def test_what_cannot_be_declared_ends_in_one_sentence_and_writes_nothing(project, tmp_path):
    with pytest.raises(StudyError, match="There is no folder"):
        declare.declare_folder("mine", str(tmp_path / "nowhere"))
    (project / "texts").mkdir()
    (project / "texts" / "a.txt").write_text("A\n\nOne sentence. Two sentences.\n")
    with pytest.raises(StudyError, match="cannot be a name"):
        declare.declare_folder("My Texts", "texts")
    declare.declare_folder("mine", "texts")
    with pytest.raises(StudyError, match="there already"):
        declare.declare_folder("mine", "texts")
    assert not paths.dataset_file("My Texts").exists()


def test_the_status_of_a_study_that_imports_has_the_reports_of_each_source(imported_study):
    table = status.status("original").set_index(["step", "of"])
    for source in ("human", "llama-2-7b-chat@q8_0"):
        assert table.loc[("reports 01 to 03", f"daily_dialog {source}"), "state"] == "missing"
    assert "done" not in set(table["state"])
