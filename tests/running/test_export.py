"""A study as plain tables: nothing lost, every column described, the same means in R."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from lib import paths, store
from lib.compare import comparison, hypotheses, mixed
from lib.errors import StudyError
from lib.params import load_study
from lib.reports.columns import described
from lib.running.export import export
from lib.surprisal import rows
from lib.uid import measures

R = shutil.which("Rscript")
KEYS = ["doc_id", "sample"]


@pytest.fixture(scope="module")
def exported(study_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_ROOT", str(study_root))
        return export("demo", ["tokens", "words"])


def test_every_column_of_every_table_is_described():
    schemas = (
        rows.SCHEMA, rows.WORD_SCHEMA, measures.SCHEMA, mixed.SCHEMA,
        comparison.SUMMARY_SCHEMA, comparison.TEST_SCHEMA, hypotheses.SCHEMA,
    )  # fmt: skip
    assert [name for schema in schemas for name in schema.names if described("any", name) is None] == []
    assert described("hypotheses", "family") != described("texts", "family")


def test_the_texts_come_back_as_they_were(exported, finished_study):
    study = load_study("demo")
    found = pd.read_csv(exported / "texts.csv", dtype={"doc_id": str}, keep_default_na=False, na_values=[""])
    for source in study.sources:
        written = store.read(paths.texts("notes", source), "").set_index(KEYS)
        measured = store.read(paths.uid("tiny-scorer", "notes", source), "").set_index(KEYS)
        mine = found[found["source"] == source].set_index(KEYS)
        assert len(mine) == len(written)
        assert mine["text"].fillna("").to_dict() == written["text"].fillna("").to_dict()
        both = mine.loc[measured.index]
        np.testing.assert_array_equal(both["uid_variance"], measured["uid_variance"])


def test_tokens_put_together_are_the_text(exported):
    tokens = pd.read_csv(exported / "tokens.csv", dtype={"doc_id": str, "token": str}, keep_default_na=False)
    texts_ = pd.read_csv(exported / "texts.csv", dtype={"doc_id": str}, keep_default_na=False)
    spelled = tokens.groupby(["source", *KEYS])["token"].agg("".join).to_dict()
    written = texts_.set_index(["source", *KEYS])["text"].to_dict()
    assert spelled == {key: written[key] for key in spelled}


def test_the_dictionary_names_each_column_of_each_file(exported):
    dictionary = pd.read_csv(exported / "dictionary.csv")
    for file in exported.glob("*.csv"):
        if file.name != "dictionary.csv":
            columns = pd.read_csv(file, nrows=0).columns
            assert set(columns) == set(dictionary.loc[dictionary["file"] == file.name, "column"])


@pytest.mark.skipif(R is None, reason="Rscript is not on PATH")
def test_r_reads_the_same_means_and_fits_the_same_model(exported, finished_study, tmp_path):
    script = shutil.copytree(exported, tmp_path / "my thesis") / "read.R"
    said = subprocess.run(
        [R, str(script)], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout
    found = pd.read_csv(exported / "texts.csv", dtype={"doc_id": str})
    means = found.dropna(subset=["uid_variance"]).groupby("source")["uid_variance"].mean()
    for mean in means:
        assert f"{mean:.12g}"[:12] in said
    fitted = mixed.fit_models(
        found.dropna(subset=["uid_variance"]).assign(group=found["source"]), ["uid_variance"]
    )
    level = fitted[(fitted["response"] == "level") & (fitted["sample"] == "all")]
    if "lme4" in said or level["estimate"].isna().all():
        pytest.skip("lme4 is not installed, or the texts are too few for a model")
    numbers = [float(each) for line in said.splitlines()[-2:] for each in line.split() if _is_number(each)]
    for estimate in level["estimate"]:
        assert min(abs(np.array(numbers) - estimate)) < 1e-4 * max(1, abs(estimate))


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_a_table_that_does_not_exist_is_named(finished_study):
    with pytest.raises(StudyError, match="no further table 'token'; did you mean 'tokens'"):
        export("demo", ["token"])


def test_a_study_that_has_not_run_says_what_to_do(project):
    with pytest.raises(StudyError, match="does not exist yet; make it with `make study STUDY=demo`"):
        export("demo")
    assert not paths.export("demo").exists()
