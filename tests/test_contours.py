"""Contours against a literal implementation, and figures from little data."""

import numpy as np
import pandas as pd
import pytest

from lib import contours
from lib.figures import comparison, relations, source
from tests.test_sentences import spans

TEXTS = {
    "a": "One two three. Four five six. Seven eight nine ten.",
    "b": "Eins zwei drei vier. Und so weiter geht es hier. Ende.",
    "c": "A. B. C.",
}


def tokens_of(texts: dict[str, str]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for doc_id, text in texts.items():
        end = 0
        for position, word in enumerate(text.replace(" ", "| ").split("|")):
            start, end = end, end + len(word)
            rows.append((doc_id, position, word, start, end, rng.gamma(2.0, 2.0)))
    return pd.DataFrame(rows, columns=["doc_id", "position", "token", "start", "end", "surprisal"])


def literal(tokens: pd.DataFrame, place: dict[tuple[str, int], float]) -> dict[float, list[float]]:
    """Position → the mean surprisal of each text there."""
    found: dict[float, dict[str, list[float]]] = {}
    for row in tokens.itertuples():
        found.setdefault(place[row.doc_id, row.position], {}).setdefault(row.doc_id, []).append(row.surprisal)
    return {at: [sum(v) / len(v) for v in texts.values()] for at, texts in found.items()}


@pytest.mark.parametrize("kind", ["relative", "absolute", "sentence"])
def test_contours_are_means_over_texts_of_means_within_texts(kind):
    tokens = tokens_of(TEXTS)
    lengths = tokens.groupby("doc_id").size()
    place = {}
    for row in tokens.itertuples():
        at = row.doc_id, row.position
        if kind == "relative":
            place[at] = (row.position * 4 // lengths[row.doc_id] + 0.5) / 4
        elif kind == "absolute":
            place[at] = (row.position // 3 + 0.5) * 3
        else:
            sentences = spans(TEXTS[row.doc_id])
            (place[at],) = [i + 1 for i, (a, b) in enumerate(sentences) if a < row.end <= b]
    table = {
        "relative": lambda: contours.by_relative_position(tokens, 4),
        "absolute": lambda: contours.by_position(tokens, 3),
        "sentence": lambda: contours.by_sentence(tokens, TEXTS),
    }[kind]()
    expected = literal(tokens, place)
    assert set(table["position"]) <= set(expected)
    assert len(table) >= 3
    for row in table.itertuples():
        values = expected[row.position]
        assert row.mean == pytest.approx(np.mean(values))
        assert row.texts == len(values)
        if len(values) > 1:
            error = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
            assert (row.low, row.high) == pytest.approx((row.mean - error, row.mean + error))


def test_positions_that_few_texts_reach_are_left_out():
    tokens = tokens_of({**{f"t{i}": "One two." for i in range(8)}, "long": "word " * 200})
    assert contours.by_position(tokens)["position"].max() < 20


@pytest.mark.parametrize("count", [3, 40])
def test_every_figure_draws_from_few_texts_and_from_equal_ones(count):
    rng = np.random.default_rng(2)
    classes = {"people": "human", "one": "base", "two": "base"}
    rows = pd.concat(
        pd.DataFrame(
            {
                "doc_id": [str(i) for i in range(count)],
                "source": name,
                "tokens": 20 + np.arange(count),
                "mean_surprisal": rng.normal(4, 1, count),
                "uid_variance": rng.normal(15, 2, count) if name != "two" else 15.0,
                "uid_pairwise": rng.normal(28, 4, count),
                "coefficient_of_variation": np.nan,
            }
        )
        for name in classes
    )
    tests = pd.DataFrame(
        [("people", "one", "uid_variance", "kolmogorov_smirnov", 0.25)],
        columns=["group_a", "group_b", "metric", "test", "effect"],
    )
    one = rows[rows["source"] == "two"]
    charts = [
        comparison.densities(rows, classes),
        comparison.boxes(rows, classes),
        comparison.violins(rows, classes),
        comparison.cumulative(rows, tests, classes),
        relations.pairs(rows, classes),
        relations.lengths(rows, classes),
        relations.by_length(rows, classes),
        relations.correlations(rows, classes),
        source.distributions(one),
        source.boxes(one),
        source.pairs(one),
        source.lengths(one),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert len(spec["description"]) > 40
        assert sum(map(len, spec["datasets"].values())) < 2500
    assert "D = 0.25" in charts[3].to_dict()["description"]
