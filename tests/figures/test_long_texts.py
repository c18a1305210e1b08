"""Figures draw hundreds of rows however long the texts are; Altair refuses more than 5,000."""

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest

from lib.figures import source as figures
from lib.reports.shaded import MOST, shaded
from lib.uid.measures import HEADLINE

TOKENS = 100_000
MOST_ROWS = 1_000  # of a whole figure


@pytest.fixture(scope="module")
def tokens() -> pd.DataFrame:
    """Three texts of 100,000 words and one of 30."""
    draw = np.random.default_rng(0)
    texts = []
    for name, count in {"a": TOKENS, "b": TOKENS, "c": TOKENS, "short": 30}.items():
        position = np.arange(count)
        text = pd.DataFrame(
            {"doc_id": name, "sample": 0, "position": position, "surprisal": draw.gamma(2, 3, count)}
        )
        texts.append(text.assign(start=5 * position, end=5 * position + 5, token=" word", rank=1))
    return pd.concat(texts, ignore_index=True)


@pytest.fixture(scope="module")
def texts(tokens: pd.DataFrame) -> pd.DataFrame:
    counts = tokens.groupby("doc_id", sort=False).size()
    sentence = " word" * 7 + ". Tha"  # of nine tokens' length
    content = [(sentence * (count // 8))[: 5 * count] for count in counts]
    return pd.DataFrame({"doc_id": counts.index, "sample": 0, "prompt": "T", "text": content})


def rows(spec: Any) -> Iterator[int]:
    """The number of rows of each table in a chart."""
    for table in spec.get("datasets", {}).values():
        yield len(table)


@pytest.mark.parametrize(
    "draw",
    [
        lambda tokens, texts: figures.sample_curves(tokens, texts, "human"),
        lambda tokens, texts: figures.samples_together(tokens, texts, "human"),
        lambda tokens, texts: figures.contours(tokens, texts, "human"),
        lambda tokens, texts: figures.surprisal_histogram(tokens, "human"),
        lambda tokens, texts: figures.length_histogram(texts, "human"),
    ],
)
def test_no_figure_of_tokens_draws_more_than_hundreds_of_rows(draw, tokens, texts) -> None:
    chart: alt.TopLevelMixin = draw(tokens, texts)
    counts = list(rows(chart.to_dict()))
    assert counts
    assert sum(counts) <= MOST_ROWS


def test_no_figure_of_texts_draws_more_than_some(tokens: pd.DataFrame) -> None:
    draw = np.random.default_rng(0)
    many = pd.DataFrame({name: draw.gamma(2, 3, 20_000) for name in ("tokens", *HEADLINE)})
    many = many.assign(doc_id=[f"{number:06}" for number in range(len(many))], sample=0)
    for figure in (figures.pairs, figures.lengths, figures.boxes, figures.distributions):
        assert max(rows(figure(many, "human").to_dict())) <= 400


def test_curves_of_short_texts_have_every_token_and_of_long_ones_the_whole_length(tokens, texts) -> None:
    chart = figures.sample_curves(tokens, texts[texts["doc_id"].isin(["short", "a"])], "human")
    (table,) = chart.to_dict()["datasets"].values()
    table = pd.DataFrame(table)
    assert table.loc[table["text"] == "short", "position"].tolist() == list(range(30))
    along = table.loc[table["text"] == "a"]
    assert len(along) == figures.ALONG
    own = tokens.loc[tokens["doc_id"] == "a", "surprisal"]
    assert along["smoothed"].mean() == pytest.approx(own.mean(), rel=0.01)
    assert along["position"].iloc[-1] > 0.99 * TOKENS


def test_a_long_text_is_shaded_at_its_beginning_and_whole(tokens, texts) -> None:
    page = shaded(texts, tokens, texts.head(1)).data
    assert page.count("<span title=") == MOST
    assert "Shaded are the first 3,000 of 100,000 tokens." in page
    assert len(page) < 2_000_000
    assert texts["text"][0][5 * MOST :] in page


def test_values_that_differ_by_rounding_alone_are_one_bar_and_have_no_density():
    values = pd.Series(3.7 + np.array([0, 1, -1, 2]) * 4e-16)
    assert values.nunique() > 1
    bars = figures.bins(values)
    assert bars["count"].sum() == 4
    assert (bars["count"] > 0).sum() == 1
    assert figures.density(values).empty
    assert figures.bins(pd.Series([1.0, 2.0]))["count"].sum() == 2
