"""Benchmarks in rounds: compared within a round only, warned of noise, their tables made of their files."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from lib.uid.measures import METRICS
from tests.conftest import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def rounds(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("_rounds", "_process"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import _rounds

    return _rounds


def benchmark(rounds, script: Path, **more):
    return rounds.Benchmark(
        script=str(script),
        engines={"a": "engine a", "b": "engine b"},
        columns=[rounds.Column("tokens_per_second", "tokens/s")],
        ratios=[rounds.Ratio("a", "b", 1.5)],
        **more,
    )


def given(folder: Path, **more) -> argparse.Namespace:
    said = {"rounds": 3, "seconds": None, "engines": None, "fresh": False, "results": folder / "results"}
    return argparse.Namespace(**(said | more))


@pytest.fixture
def script(tmp_path) -> Path:
    """Each engine says how often any has run, and fails at the time that a file `fail` says."""
    file = tmp_path / "counting.py"
    file.write_text(
        "import json, pathlib, sys\n"
        "engine, folder = sys.argv[2], pathlib.Path(sys.argv[4])\n"
        "log = folder / 'log'\n"
        "said = log.read_text() if log.exists() else ''\n"
        "log.write_text(said + engine)\n"
        "if (folder / 'fail').exists(): sys.exit('it failed')\n"
        "print(json.dumps({'tokens_per_second': (2 if engine == 'a' else 1) * 10 ** len(said)}))\n"
    )
    return file


def log(folder: Path) -> str:
    return (folder / "log").read_text()


def test_engines_take_turns_and_are_compared_within_a_round(rounds, script, tmp_path, capsys):
    made = rounds.Rounds(benchmark(rounds, script), given(tmp_path))
    made.measure({"a": tmp_path, "b": tmp_path})
    assert log(tmp_path) == "ababab"
    found = json.loads(made.file.read_text())
    # The machine became ten times as fast from run to run; within each round the ratio is the same.
    (ratio,) = found["ratios"]
    assert rounds.within_rounds(found, ratio) == pytest.approx([0.2, 0.2, 0.2])
    assert "| engine a / engine b | 0.20 | 0.20 to 0.20 | ≥ 1.5 | missed |" in capsys.readouterr().out
    assert {"processor", "instruction_sets", "threads"} <= found["machine"].keys()
    assert all({"load", "others", "stolen", "took"} <= run.keys() for run in found["runs"])


def test_a_benchmark_goes_on_where_it_was_cut_off(rounds, script, tmp_path, capsys):
    folders = {"a": tmp_path, "b": tmp_path}
    first = rounds.Rounds(benchmark(rounds, script), given(tmp_path, rounds=1))
    first.measure(folders)
    runs = json.loads(first.file.read_text())
    runs["runs"][0]["took"] = 1e6
    first.file.write_text(json.dumps(runs))
    rounds.Rounds(benchmark(rounds, script), given(tmp_path, seconds=60)).measure(folders)
    assert log(tmp_path) == "ab"  # the next one would not end in time
    assert "4 measurements are left" in capsys.readouterr().out
    (tmp_path / "fail").touch()
    with pytest.raises(RuntimeError, match="it failed"):
        rounds.Rounds(benchmark(rounds, script), given(tmp_path)).measure(folders)
    (tmp_path / "fail").unlink()
    rounds.Rounds(benchmark(rounds, script), given(tmp_path)).measure(folders)
    assert log(tmp_path) == "ab" + "a" + "abab"
    other = rounds.Rounds(benchmark(rounds, script, settings={"texts": 2}), given(tmp_path))
    assert next(other.missing()) == (0, "a")  # other settings: nothing there is of use
    assert "begins anew" in capsys.readouterr().out


def results(rounds, values: list[float], others: float = 0.0) -> dict:
    runs = [
        {
            "round": i,
            "engine": engine,
            "at": "2026-11-25T12:00:00+00:00",
            "others": others,
            "stolen": 0.0,
            "figures": {"tokens_per_second": 100.0 * (value if engine == "a" else 1), "peak_gb": value},
        }
        for i, value in enumerate(values)
        for engine in ("a", "b")
    ]
    return {
        "machine": {
            "processor": "P",
            "instruction_sets": [],
            "processors": 2,
            "threads": 2,
            "memory_gb": 8,
        },
        "of": {"versions": {"torch": "2"}, "settings": {"texts": 8}},
        "engines": {"a": "engine a", "b": "engine b"},
        "columns": [{"figure": "peak_gb", "title": "GB", "digits": 2}],
        "ratios": [{"engine": "a", "other": "b", "aim": 1.5, "figure": "tokens_per_second"}],
        "limits": [{"engine": "a", "figure": "peak_gb", "most": 1.7}],
        "runs": runs,
    }


@pytest.mark.parametrize(
    ("values", "ratio", "limit"),
    [
        ([1.6, 1.55, 1.65], "reached", "reached"),
        ([1.4, 1.45, 1.3], "missed", "reached"),
        ([1.4, 1.6, 1.75], "open: within the noise", "open: within the noise"),
        ([1.6, 1.6], "too few rounds to say", "too few rounds to say"),
        ([1.0, 1.0, 1.31], "**too wide to mean anything**", "**too wide to mean anything**"),
    ],
)
def test_a_range_says_what_a_run_means(rounds, values, ratio, limit):
    made = rounds.tables(results(rounds, values))
    (of_ratio,) = [line for line in made if line.startswith("| engine a / engine b")]
    (of_limit,) = [line for line in made if line.startswith("| engine a: GB")]
    assert of_ratio.endswith(f"| {ratio} |")
    assert of_limit.endswith(f"| {limit} |")


def test_work_of_others_is_told(rounds):
    assert not any("Warning" in line for line in rounds.tables(results(rounds, [1.0, 1.0], others=0.02)))
    assert any(
        "Warning: in 4 of 4" in line for line in rounds.tables(results(rounds, [1.0, 1.0], others=0.4))
    )


def test_the_readme_has_the_tables_of_the_results(rounds):
    readme = (BENCHMARKS / "README.md").read_text()
    assert rounds.with_tables(readme, BENCHMARKS / "results") == readme
    names = {file.name.partition("-")[0] for file in (BENCHMARKS / "results").glob("*.json")}
    assert all(f"<!-- results of {name} -->" in readme for name in names)


def test_the_originals_way_gives_the_figures_of_step_03(monkeypatch, tmp_path):
    """What `benchmarks/uid.py` compares are two ways to the same figures, all metrics of today among them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("uid", "_rounds", "_process"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import uid

    uid.prepare(tmp_path, tokens=9_000, texts=30, sample=20)
    for way in uid.WAYS:
        uid.measure(way, tmp_path)
    uid.agree(tmp_path, "ten")
    uid.agree(tmp_path, "all")
    own, theirs = (pd.read_parquet(tmp_path / f"{by}_all.parquet") for by in ("ours", "original"))
    assert (len(own), len(theirs)) == (30, 20)
    assert set(own) == {"doc_id", "sample", *METRICS}
