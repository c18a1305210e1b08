"""Effects and their intervals against SciPy, and against what was published."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lib.compare import bootstrap, effects
from lib.compare.bootstrap import Group, Resamples
from lib.compare.comparison import RATIOS, WEIGHTED

FUNCTIONS = list(WEIGHTED.values())
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "published"
values = st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=30).map(np.array)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published tables are not beside the repository")
def test_published_effect_sizes_follow_from_published_summaries():
    summaries = pd.read_csv(PUBLISHED / "comparison_all_models.csv").set_index(["source", "metric"])
    printed = pd.read_csv(PUBLISHED / "effect_sizes_all_models.csv", dtype={"cohens_d": str})
    assert len(printed) == 18
    half = 0.00005  # every printed number stands for this much to either side
    exact = 0
    for row in printed.itertuples():
        a, b = (summaries.loc[(group, row.metric)] for group in (row.group_a, row.group_b))
        d = effects.cohens_d_from_summary((a["n"], a["mean"], a["std"]), (b["n"], b["mean"], b["std"]))
        corners = [
            effects.cohens_d_from_summary(
                (a["n"], a["mean"] + i * half, a["std"] + j * half),
                (b["n"], b["mean"] - i * half, b["std"] + j * half),
            )
            for i in (-1, 1)
            for j in (-1, 1)
        ]
        low, high = sorted(abs(float(d)) for d in (min(corners), max(corners)))
        assert high - low < 1e-3  # the inputs leave no room for another formula
        assert low - half <= float(row.cohens_d) <= high + half
        exact += f"{abs(d):.4f}" == row.cohens_d
    assert exact >= 15, "only the rounding of the printed inputs may move the last digit"


@given(values, values)
def test_cliffs_delta_counts_pairs(a, b):
    signs = np.sign(a[:, None] - b[None, :])
    assert effects.cliffs_delta(a, b) == pytest.approx(signs.mean())


def test_cohens_d_and_hedges_g(rng):
    a, b = rng.normal(1, 2, 40), rng.normal(0, 1, 25)
    t = stats.ttest_ind(a, b).statistic
    d = t * np.sqrt(1 / 40 + 1 / 25)
    assert effects.cohens_d(a, b) == pytest.approx(d)
    assert effects.hedges_g(a, b) == pytest.approx(d * (1 - 3 / (4 * 63 - 1)))
    assert effects.cohens_d(b, a) == pytest.approx(-d)


@given(values)
def test_matched_rank_biserial_follows_from_the_signed_rank_sum(difference):
    kept = difference[difference != 0]
    if len(kept) < 1:
        assert effects.matched_rank_biserial(difference) == 0
        return
    positive = stats.wilcoxon(kept, alternative="greater", method="asymptotic").statistic
    total = len(kept) * (len(kept) + 1) / 2
    assert effects.matched_rank_biserial(difference) == pytest.approx(2 * positive / total - 1)


@given(values, values, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_weighted_effects_are_the_effects_of_the_resampled_texts(a, b, seed):
    """A weight per document gives what drawing the documents and computing anew gives, ties included."""
    documents = max(len(a), len(b)) + 2
    rng = np.random.default_rng(seed)
    group_a = Group(a, rng.permutation(documents)[: len(a)])
    group_b = Group(b, rng.permutation(documents)[: len(b)])
    resamples = Resamples(np.zeros(documents), draws=5, seed=seed)
    found = bootstrap.distributions({"a": group_a, "b": group_b}, [("a", "b")], resamples, FUNCTIONS)[
        "a", "b"
    ]
    for block in resamples.blocks():
        weights = resamples.weights(block).astype(int)
        for column in range(block.stop - block.start):
            drawn = weights[:, column]
            x = np.repeat(a, drawn[group_a.documents])
            y = np.repeat(b, drawn[group_b.documents])
            if min(len(x), len(y)) < 3 or not (x.std() > 0 and y.std() > 0):
                continue
            difference, both = bootstrap.differences(group_a, group_b, documents)
            delta, g, ratio, biserial = found[:, block.start + column]
            assert delta == pytest.approx(effects.cliffs_delta(x, y), abs=1e-5)
            assert g == pytest.approx(effects.hedges_g(x, y), rel=1e-3, abs=1e-4)
            assert np.exp(ratio) == pytest.approx(effects.variance_ratio(x, y), rel=1e-3)
            signed = np.repeat(difference, drawn[both])
            if signed.any():
                assert biserial == pytest.approx(effects.matched_rank_biserial(signed), abs=1e-5)


@pytest.mark.parametrize("name", ["cliffs_delta", "hedges_g", "variance_ratio"])
def test_intervals_are_scipys_on_the_same_draws(rng, name):
    shared = rng.gamma(4, 1, 60)
    a, b = shared + rng.normal(0.6, 1, 60), shared + rng.normal(0, 1.6, 60)
    groups = {"a": Group(a, np.arange(60)), "b": Group(b, np.arange(60))}
    resamples = Resamples(np.zeros(60), draws=999)
    drawn = bootstrap.distributions(groups, [("a", "b")], resamples, FUNCTIONS)["a", "b"]
    effect = getattr(effects, name)
    if name == "variance_ratio":

        def effect(x, y):
            return np.log(effects.variance_ratio(x, y))

    oracle = stats.bootstrap(
        (a, b),
        effect,
        n_resamples=0,
        paired=True,
        vectorized=False,
        method="BCa",
        bootstrap_result=SimpleNamespace(
            bootstrap_distribution=drawn[list(WEIGHTED).index(name), : resamples.draws]
        ),
    ).confidence_interval
    expected = np.exp(oracle) if name == "variance_ratio" else np.array(oracle)
    found = bootstrap.intervals(groups, [("a", "b")], resamples, WEIGHTED, RATIOS)["a", "b"][name]
    assert found == pytest.approx(tuple(expected), rel=2e-3)


def test_draws_do_not_depend_on_the_number_of_processors(rng, monkeypatch):
    groups = {name: Group(rng.normal(size=200), np.arange(200)) for name in "ab"}
    made = []
    for processors in (1, 4):
        monkeypatch.setattr("os.cpu_count", lambda n=processors: n)
        resamples = Resamples(np.repeat([0, 1], 100), draws=300, seed=3)
        made.append(bootstrap.distributions(groups, [("a", "b")], resamples, FUNCTIONS)["a", "b"])
    np.testing.assert_array_equal(made[0], made[1])


def test_each_stratum_keeps_its_size():
    strata = np.array(["x"] * 30 + ["y"] * 7)
    resamples = Resamples(strata, draws=200)
    drawn = np.concatenate([resamples.weights(b) for b in resamples.blocks()][:2], axis=1)
    assert (drawn[:30].sum(axis=0) == 30).all()
    assert (drawn[30:].sum(axis=0) == 7).all()
    assert drawn[:30].mean(axis=1) == pytest.approx(np.ones(30), abs=0.35)


def test_no_interval_where_groups_do_not_overlap(rng):
    groups = {
        "a": Group(rng.normal(50, 1, 20), np.arange(20)),
        "b": Group(rng.normal(0, 1, 20), np.arange(20)),
    }
    found = bootstrap.intervals(groups, [("a", "b")], Resamples(np.zeros(20), draws=200), WEIGHTED, RATIOS)[
        "a", "b"
    ]
    assert np.isnan(found["cliffs_delta"]).all()
    assert np.isfinite(found["hedges_g"]).all()
