import math
import statistics
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import uid
from tests.conftest import REPOSITORY

PUBLISHED = REPOSITORY.parent / "shared" / "reference" / "published"

texts = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 40)), min_size=1, max_size=90),
    min_size=1,
    max_size=5,
)


def rows_of(drawn):
    return pd.DataFrame(
        [
            {"doc_id": str(i), "token": token, "surprisal": surprisal}
            for i, text in enumerate(drawn)
            for token, surprisal in text
        ]
    )


def literal(text):
    """The metrics as one would write them down for a single text."""
    s = [surprisal for _, surprisal in text]
    n, mean = len(s), statistics.fmean(s)
    variance = sum((x - mean) ** 2 for x in s) / n
    found = {
        "tokens": n,
        "mean_surprisal": mean,
        "median_surprisal": statistics.median(s),
        "min_surprisal": min(s),
        "max_surprisal": max(s),
        "vocab_size": len({token for token, _ in text}),
    }
    if n < 2:
        return found
    pairs = list(pairwise(s))
    return found | {
        "uid_variance": variance,
        "uid_pairwise": sum((b - a) ** 2 for a, b in pairs) / (n - 1),
        "local_difference": sum(abs(b - a) for a, b in pairs) / (n - 1),
        "super_linear_cost": sum(x**1.25 for x in s) / n,
        "uid_variance_first_n": statistics.pvariance(s[:64]) if n >= 64 else math.nan,
    }


@settings(deadline=None, max_examples=150)
@given(texts)
def test_metrics_equal_their_formulas_text_by_text(drawn):
    table = uid.metrics(rows_of(drawn))
    assert table["doc_id"].tolist() == [str(i) for i in range(len(drawn))]
    for text, row in zip(drawn, table.to_dict("records"), strict=True):
        for name, value in literal(text).items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


def test_scale_free_metrics_equal_numpy():
    s = np.random.default_rng(0).gamma(1.0, 4.0, size=200)
    (row,) = uid.metrics(rows_of([[("a", x) for x in s]])).to_dict("records")
    assert row["coefficient_of_variation"] == pytest.approx(s.std() / s.mean())
    assert row["pairwise_ratio"] == pytest.approx(np.mean(np.diff(s) ** 2) / s.var())
    d = s - s.mean()
    assert row["autocorrelation"] == pytest.approx((d[1:] @ d[:-1]) / (d @ d))


def test_a_text_of_one_token_has_a_mean_and_no_uniformity():
    (row,) = uid.metrics(rows_of([[("a", 3.0)]])).to_dict("records")
    assert row["mean_surprisal"] == 3.0
    assert all(math.isnan(row[name]) for name in uid.UNIFORMITY)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the original study's published figures are not here")
def test_the_published_metrics_follow_from_the_published_surprisals():
    published = pd.read_csv(PUBLISHED / "uid_metrics.csv")
    names = [name for name in uid.METRICS if name in published.columns and name != "sentence_length"]
    assert len(names) == 8
    for row in published.to_dict("records"):
        file = PUBLISHED / "surprisals" / row["source"] / row["dataset"] / row["filename"]
        tokens = pd.read_csv(file, keep_default_na=False).assign(doc_id=row["filename"])
        (ours,) = uid.metrics(tokens).to_dict("records")
        tolerance = 1e-4 if row["source"] == "human_texts" else 1e-9
        for name in names:
            assert ours[name] == pytest.approx(row[name], rel=tolerance, abs=tolerance), (file.name, name)
