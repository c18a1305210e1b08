"""What a study would find: simulation by the tests of step 04, held against closed forms."""

import math

import numpy as np
import pandas as pd
import pytest

from lib import paths, store
from lib.compare import power
from lib.compare.power import Effect, Population, Size
from lib.errors import StudyError
from lib.params import Contrast, Hypothesis, load_study
from lib.running import plan as running
from lib.uid.measures import SCHEMA

METRIC = "uid_variance"


def contrast(aspect: str = "level", expect: str = "less", name: str = "one") -> Contrast:
    given = {"sentence": "s", "metric": METRIC, "aspect": aspect, "of": "a", "against": "b", "expect": expect}
    return Contrast(name, Hypothesis.model_validate(given), {"a": 1.0}, {"b": 1.0})


def test_texts_are_drawn_with_the_correlation_and_the_chance_that_were_asked_for():
    size = Size({"d": 20_000}, {"a": 2, "b": 2})
    moved = Effect.of(contrast(), 0.5)
    texts = power.drawn(size, {METRIC: Population(0.3, 0.45)}, np.random.default_rng(0), moved)
    wide = texts.assign(sample=texts.groupby(["source", "doc_id"]).cumcount())
    wide = wide.pivot(index="doc_id", columns=["source", "sample"], values=METRIC)
    assert wide["a", 0].corr(wide["b", 1]) == pytest.approx(0.3, abs=0.02)
    assert wide["a", 0].corr(wide["a", 1]) == pytest.approx(0.55, abs=0.02)
    assert wide.std().to_numpy() == pytest.approx(1, abs=0.02)
    assert wide["a"].mean().mean() - wide["b"].mean().mean() == pytest.approx(-0.5, abs=0.03)
    scaled = power.drawn(
        size, {METRIC: Population()}, np.random.default_rng(0), Effect.of(contrast("spread"), math.log(2))
    )
    variance = scaled.groupby("source")[METRIC].var()
    assert variance["a"] / variance["b"] == pytest.approx(0.5, rel=0.05)


def test_power_is_that_of_a_paired_t_test():
    from statsmodels.stats.power import TTestPower

    size, has = Size({"d": 60}, {"a": 1, "b": 1}), Population(0.3, 0.5)
    amount = 0.45
    found = power.power([contrast()], size, {METRIC: has}, Effect.of(contrast(), amount), studies=150)["one"]
    expected = TTestPower().power(amount / math.sqrt(2 * (1 - 0.3)), nobs=60, alpha=0.05)
    assert found == pytest.approx(expected, abs=0.12)
    nothing = power.power([contrast()], size, {METRIC: has}, studies=60)["one"]
    assert nothing <= 0.1


def test_more_hypotheses_cost_power_and_more_samples_give_it():
    size, has = Size({"d": 40}, {"a": 1, "b": 1}), {METRIC: Population(0.2, 0.6)}
    moved = Effect.of(contrast(), 0.55)
    family = [contrast(name=f"h{i}", expect="less" if i == 0 else "more") for i in range(10)]
    alone = power.power(family[:1], size, has, moved, studies=60)["h0"]
    assert power.power(family, size, has, moved, studies=60)["h0"] < alone
    more = Size({"d": 40}, {"a": 4, "b": 4})
    assert power.power(family[:1], more, has, moved, studies=60)["h0"] > alone


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([0.2, 0.6, 1.0], 3.0), ([0.9, 0.9, 0.9], 1.0), ([0.1, 0.2, 0.3], math.nan), ([0.2, 0.9, 0.7], 1.857)],
)
def test_where_a_share_is_reached(shares, expected):
    found = power.reached(pd.Series([1, 2, 4]), pd.Series(shares))
    assert found == pytest.approx(expected, abs=1e-3, nan_ok=True)


def test_a_pilot_gives_back_what_it_was_drawn_with(project):
    study = load_study("demo")
    size = Size({"pydocs": 1500}, {name: 1 if name == "human" else 2 for name in study.sources})
    truth = Population(0.25, 0.5, {"tiny-rlhf": -0.5}, {"tiny-rlhf": 0.8})
    texts = power.drawn(size, {METRIC: truth}, np.random.default_rng(3))
    texts = texts.assign(
        sample=texts.groupby(["source", "doc_id"]).cumcount(), doc_id=texts["doc_id"].astype(str)
    )
    made = store.record("made up", parameters={}, inputs={}, packages=(), units={})
    for source, rows in texts.groupby("source"):
        rows = rows.reindex(columns=SCHEMA.names).fillna({"tokens": 1, "vocab_size": 1, "words": 1})
        store.write(paths.uid(study.scorers[0], "pydocs", str(source)), rows, SCHEMA, made)
    found = power.of_pilot("demo", study)[METRIC]
    assert found.correlation == pytest.approx(truth.correlation, abs=0.05)
    assert found.chance == pytest.approx(truth.chance, abs=0.05)
    assert found.level["tiny-rlhf"] - found.level["tiny-base"] == pytest.approx(-0.5, abs=0.1)
    assert found.scale["tiny-rlhf"] / found.scale["tiny-base"] == pytest.approx(0.8, abs=0.05)


def test_a_plan_has_a_row_per_hypothesis_and_a_page_that_loads_nothing(project):
    study = load_study("demo")
    table, file = running.plan("demo", study, prompts=12, studies=2)
    assert list(table["hypothesis"]) == list(study.hypotheses)
    page = file.read_text()
    assert all(name in page for name in study.hypotheses)
    assert "<figure" in page
    assert "src=" not in page.split("</style>")[1].split("<script>")[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"correlation": 0.8, "chance": 0.5}, "cannot be"),
        ({"prompts": 1}, "needs 3 documents"),
        ({"pilot": "demo"}, "does not exist yet"),
        ({"pilot": "demo", "correlation": 0.1}, "not from both"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_sentence(project, given, said):
    with pytest.raises(StudyError, match=said):
        running.plan("demo", load_study("demo"), **given)
