"""The figure of a study's hypotheses: a row each, a point per scorer or dataset, marked as decided or not."""

import numpy as np
import pandas as pd
import pytest

from lib.compare.verdicts import VERDICTS, answers
from lib.figures import hypotheses as figures
from tests.compare.test_verdicts import row


def data(chart, field: str) -> pd.DataFrame:
    """The rows of every dataset of `chart` that has `field`."""
    found = [pd.DataFrame(rows) for rows in chart.to_dict()["datasets"].values()]
    return pd.concat([rows for rows in found if field in rows])


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_filled_point_is_decided(verdict):
    (point,) = data(figures.by_scorer(answers(pd.DataFrame([row("h", verdict)]))), "at").to_dict("records")
    assert point["decided"] == (verdict in ("supported", "reversed"))
    assert point["verdict"] == verdict


def test_a_point_per_scorer_and_a_square_for_one_that_is_no_independent_witness():
    table = pd.DataFrame(
        [row("h", "supported"), row("h", "reversed", scorer="two", independent=False), row("g", "open")]
    )
    chart = figures.by_scorer(answers(table))
    points = data(chart, "at")
    assert list(zip(points["name"], points["witness"], strict=True)) == [
        ("one", "independent"),
        ("two", "no independent witness"),
        ("one", "independent"),
    ]
    said = chart.to_dict()["description"]
    assert "one: supported, −0.40 (−0.50 to −0.30); two: reversed, 0.40 (0.30 to 0.50)." in said
    assert "Squares: by a scorer that is no independent witness" in said
    alone = figures.by_scorer(answers(table[table["scorer"] == "one"]))
    assert "Squares" not in alone.to_dict()["description"]


@pytest.mark.parametrize(
    ("expected", "side"),
    [("less", "left"), ("not more", "left"), ("more", "right"), ("not less", "right"), ("different", None)],
)
@pytest.mark.parametrize(
    ("effect_name", "none"), [("standardised_mean_difference", 0), ("variance_ratio", 1)]
)
def test_the_expected_side_is_shaded(expected, side, effect_name, none):
    given = {"expected": expected, "effect_name": effect_name, "effect": 1.2, "ci_low": 0.9, "ci_high": 1.5}
    chart = figures.by_scorer(answers(pd.DataFrame([row("h", "open", **given)])))
    try:
        shaded = data(chart, "expected_from")
    except ValueError:  # nothing is shaded
        assert side is None
    else:
        ends = shaded[["expected_from", "expected_to"]].to_numpy().ravel()
        assert (ends[1] if side == "left" else ends[0]) == none


def test_effects_far_away_or_undefined_are_drawn_at_the_end_or_not_at_all():
    far = row("far", "supported", effect_name="variance_ratio", effect=90.0, ci_low=40.0, ci_high=np.inf)
    nothing = row("nothing", "open", effect=np.nan, ci_low=np.nan, ci_high=np.nan, p_adjusted=np.nan)
    chart = figures.by_scorer(answers(pd.DataFrame([far, nothing])))
    points = data(chart, "at")
    assert points["at"].dropna().tolist() == [16]
    assert "1 could not be tested, not drawn" in chart.to_dict()["description"]


def test_datasets_have_a_figure_where_there_are_several():
    one = [row("h", "open"), row("h", "open", dataset="news")]
    assert figures.by_dataset(answers(pd.DataFrame(one))) is None
    chart = figures.by_dataset(answers(pd.DataFrame([*one, row("h", "reversed", dataset="tales")])))
    assert data(chart, "at")["name"].tolist() == ["all datasets", "news", "tales"]
