"""An engine and a test of one's own, each one file and one entry, through a whole study to its paper."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lib import paths
from tests.conftest import REPOSITORY, path_without

TEST = '''\
"""The distance of two medians, tested by Mood's test."""

from scipy import stats


def medians(pair):
    a, b = pair.a.values, pair.b.values
    found = stats.median_test(a, b)
    return {"statistic": found.statistic, "p": found.pvalue, "effect": float(stats.tmean(a) - stats.tmean(b))}
'''
ENTRY = """\
    GroupTest(
        "toy_medians",
        "level, by medians",
        "toy_distance",
        "toy distance",
        own_test.medians,
        axis=Axis("toy distance", 5, place=9),
    ),
)
BY_NAME ="""


@pytest.fixture
def extended(small_study: Path) -> Path:
    """The small study beside a copy of the library with one file more for each, and one entry."""
    shutil.copytree(REPOSITORY / "lib", small_study / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "Snakefile", small_study)
    lib = small_study / "lib"
    shutil.copy(REPOSITORY / "tests" / "toy_engine.py", lib / "backends" / "toy.py")
    (lib / "compare" / "own_test.py").write_text(TEST)
    replaced(
        lib / "backends" / "engines.py",
        "openai_engine, transformers_engine, vllm_engine\n",
        "openai_engine, toy, transformers_engine, vllm_engine\n",
    )
    replaced(lib / "backends" / "engines.py", "vllm_engine):", "vllm_engine, toy):")
    replaced(
        lib / "compare" / "tests_between.py", "from lib.compare import ", "from lib.compare import own_test, "
    )
    replaced(lib / "compare" / "tests_between.py", ")\nBY_NAME =", ENTRY)
    (small_study / "params" / "toy.yaml").write_text(
        "kind: model\nclass: rlhf\nfamily: toy\nweights: {backend: toy, word: list, varied: true}\n"
        "sampling: {generate: 10, max_tokens: 60, min_characters: 1}\n"
    )
    file = paths.study_file("small")
    declared = yaml.safe_load(file.read_text()) | {"sources": ["human", "toy"], "scorers": ["toy"]}
    declared["comparisons"]["all"]["sources"] = ["human", "toy"]
    del declared["hypotheses"]["spread"]  # the toy has no base
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    return small_study


def replaced(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert content.count(old) == 1, old
    file.write_text(content.replace(old, new))


@pytest.mark.whole_study(2)
def test_an_engine_and_a_test_of_ones_own_reach_reports_and_paper(extended):
    environment = os.environ | {"PYTHONPATH": str(extended), "STUDY_ROOT": str(extended)}
    environment["PATH"] = path_without("quarto")  # it shows no more than the paper's sentences do
    command = [sys.executable, "-m", "lib.running.study", "small"]
    done = subprocess.run(command, cwd=extended, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    tests = pd.read_parquet(paths.comparison("small", "all", "tests")).set_index("test")
    own = tests.loc["toy_medians"]
    assert (own["effect_name"] == "toy_distance").all()
    assert own["p"].notna().all()
    assert (own["p_adjusted_bh"] >= own["p"]).all()
    assert "toy distance" in paths.rendered_comparison("small", "all").with_suffix(".html").read_text()
    assert paths.study_page("small").exists()
    asked = "from lib.reports.paper import paper; p = paper(); print(p.claims()); print(p.describe())"
    said = subprocess.run(
        [sys.executable, "-c", asked], cwd=extended, env=environment, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr[-2000:]
    assert "C1" in said.stdout
    assert "toy" in said.stdout
