"""The simulation of benchmarks/coverage.py in short: the tests and intervals hold what they promise."""

import pandas as pd
import pytest

from benchmarks import coverage


@pytest.fixture(scope="module")
def studies() -> dict[str, pd.DataFrame]:
    design = coverage.DESIGNS["two models of a class, two samples"]
    return {
        scenario: pd.concat(
            [coverage.tested(seed, scenario, design, documents=60, draws=300) for seed in range(60)]
        )
        for scenario in ("no difference", "level and spread")
    }


def test_intervals_cover_the_truth(studies):
    design = coverage.DESIGNS["two models of a class, two samples"]
    for scenario, found in studies.items():
        covered = coverage.covered(found, coverage.truth(scenario, design, 100_000).to_dict())
        # Of 300 intervals, which share studies: three standard errors of a single hypothesis' share.
        assert 0.9 < covered.mean() < 0.99
        assert covered.min() > 0.85


def test_without_a_difference_few_studies_err_and_with_one_most_find_it(studies):
    assert coverage.errs(studies["no difference"])["Holm"] < 0.13  # 5 % and three standard errors
    power = coverage.power(studies["level and spread"])
    assert power["tuned and base"] > 0.9
    assert power["spread, tuned and base"] > 0.6
    assert power["base and people"] < 0.13  # alike in both scenarios but for length
