"""Corrections are statsmodels'."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from lib.compare.families import benjamini_hochberg, holm

ps = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.01, 0.02, 0.04, 0.3, 0.9, 1.0]), min_size=1, max_size=12)


@pytest.fixture(scope="module", autouse=True)
def quick_collection():
    """statsmodels collects garbage at each call; what is there already need not be looked through."""
    gc.freeze()
    yield
    gc.unfreeze()


@given(ps, st.integers(0, 11))
def test_as_statsmodels_corrects(p, missing):
    for corrected, method in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
        expected = multipletests(p, method=method)[1]
        assert corrected(np.array(p)).tolist() == pytest.approx(expected.tolist())
        at = min(missing, len(p))
        found = corrected(np.insert(np.array(p), at, np.nan))  # a missing one changes nothing
        assert np.isnan(found[at])
        assert np.delete(found, at).tolist() == pytest.approx(expected.tolist())


def test_an_empty_family():
    assert holm(np.array([np.nan])).size == 1
    assert benjamini_hochberg(np.array([])).size == 0
