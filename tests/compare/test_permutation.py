"""Exchanges within documents are SciPy's: exactly where they are few, closely where they are drawn."""

import numpy as np
import pytest
from scipy import stats

from lib.compare import permutation
from lib.compare.permutation import Sides, null


def mean_difference(x, y, axis):
    return x.mean(axis=axis) - y.mean(axis=axis)


def scipys(a, b, kind, alternative, resamples=np.inf):
    return stats.permutation_test(
        (a, b),
        mean_difference,
        permutation_type=kind,
        alternative=alternative,
        vectorized=True,
        n_resamples=resamples,
        rng=3,
    ).pvalue


@pytest.mark.parametrize(("kind", "n", "m"), [("samples", 11, 11), ("independent", 7, 6)])
def test_all_exchanges_are_scipys(kind, n, m):
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.7, 1, n), rng.normal(0, 1, m)
    found = null([Sides(a, b, paired=kind == "samples")])
    assert found.exact
    assert found.observed == pytest.approx(a.mean() - b.mean())
    assert found.p() == pytest.approx(scipys(a, b, kind, "two-sided"))
    for bound in (-0.4, 0.3, 1.5):  # against a difference of so much
        assert found.p_below(bound) == pytest.approx(scipys(a - bound, b, kind, "less"))
        assert found.p_above(bound) == pytest.approx(scipys(a - bound, b, kind, "greater"))


@pytest.mark.parametrize(("kind", "n", "m"), [("samples", 50, 50), ("independent", 40, 55)])
def test_drawn_exchanges_come_close(kind, n, m):
    rng = np.random.default_rng(5)
    a, b = rng.gamma(2, 1, n) + 0.3, rng.gamma(2, 1, m)
    found = null([Sides(a, b, paired=kind == "samples")])
    assert not found.exact
    assert found.p() == pytest.approx(scipys(a, b, kind, "two-sided", 60_000), abs=0.012)
    assert found.p_below(0.6) == pytest.approx(scipys(a - 0.6, b, kind, "less", 60_000), abs=0.012)


def test_ties_count_and_no_difference_has_p_one():
    a = np.array([1.0, 2, 3, 4])
    assert null([Sides(a, a, paired=True)]).p() == 1
    assert null([Sides(a + 1, a, paired=True)]).p() == pytest.approx(2 / 2**4)


def test_datasets_are_strata():
    """Exchanged within datasets, each counting by its documents; pairs, deals and both together."""
    rng = np.random.default_rng(8)
    first = Sides(rng.normal(1, 1, 5), rng.normal(0, 1, 5), paired=True)
    second = Sides(rng.normal(0, 1, 7), rng.normal(0, 1, 7), paired=True)
    both = null([first, second])
    joined = np.concatenate([first.of, second.of]), np.concatenate([first.against, second.against])
    assert both.p() == pytest.approx(scipys(*joined, "samples", "two-sided"))
    apart = Sides(rng.normal(0.8, 1, 30), rng.normal(0, 1, 20), paired=False)
    mixed = null([first, apart], draws=4000)
    assert mixed.observed == pytest.approx((5 * first.difference + 20 * apart.difference) / 25)
    turned = null([Sides(s.against, s.of, s.paired) for s in (first, apart)], draws=4000)
    assert turned.p() == pytest.approx(mixed.p(), abs=0.02)
    assert turned.observed == -mixed.observed


def test_many_documents_are_drawn_from_the_same_distribution():
    rng = np.random.default_rng(1)
    difference = rng.normal(0.01, 1, permutation.MANY + 1)
    found = null([Sides(difference, np.zeros_like(difference), paired=True)])
    assert len(found.draws) == permutation.FEWER_DRAWS
    normal = 2 * stats.norm.sf(abs(difference.sum()) / np.sqrt((difference**2).sum()))
    assert found.p() == pytest.approx(normal, abs=0.02)
    assert found.draws.real.std() == pytest.approx(np.sqrt((difference**2).sum()) / len(difference), rel=0.03)


def test_tables_that_are_made_some_at_a_time_draw_from_the_same_distribution(monkeypatch):
    monkeypatch.setattr(permutation, "TABLES_AT_ONCE", 7)
    difference = np.random.default_rng(1).normal(0.01, 1, 1_001)
    found = null([Sides(difference, np.zeros_like(difference), paired=True)])
    assert len(found.draws) == permutation.DRAWS
    normal = 2 * stats.norm.sf(abs(difference.sum()) / np.sqrt((difference**2).sum()))
    assert found.p() == pytest.approx(normal, abs=0.01)
    assert found.draws.real.std() == pytest.approx(np.sqrt((difference**2).sum()) / len(difference), rel=0.01)
