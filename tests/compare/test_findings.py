"""Sentences that follow the tables, whichever way the results fall."""

import numpy as np
import pandas as pd
import pytest

from lib.compare import findings, mixed
from lib.compare.comparison import pairwise_tests, summarise
from lib.compare.wording import number
from lib.errors import StudyError

CLASSES = {"people": "human", "base": "base", "chat": "rlhf"}
PAIRS = [("people", "base"), ("people", "chat"), ("base", "chat")]


def study(shift: float, scale: float, n: int = 400) -> pd.DataFrame:
    """`chat` lies `shift` standard deviations above the others and spreads `scale` times as much."""
    rng = np.random.default_rng(5)
    tables = []
    for group, text_class in CLASSES.items():
        tuned = text_class == "rlhf"
        values = rng.normal(size=n) * (scale if tuned else 1) + 20 + (shift if tuned else 0)
        rows = {
            "uid_variance": values,
            "tokens": rng.integers(80, 300, n),
            "doc_id": [str(i) for i in range(n)],
        }
        tables.append(
            pd.DataFrame(rows).assign(group=group, source=group, text_class=text_class, dataset="made-up")
        )
    return pd.concat(tables, ignore_index=True)


def comparison_of(shift: float, scale: float, n: int = 400) -> pd.DataFrame:
    return pairwise_tests(study(shift, scale, n), PAIRS, ["uid_variance", "tokens"], draws=200)


@pytest.fixture(scope="module")
def none() -> pd.DataFrame:
    return comparison_of(0, 1)


@pytest.fixture(scope="module")
def large() -> pd.DataFrame:
    return comparison_of(-1.5, 0.4)


@pytest.fixture(scope="module")
def turned() -> pd.DataFrame:
    return comparison_of(1.5, 2.5)


def test_no_effect(none):
    assert findings.finding(none, "uid_variance", "chat", "people").direction == "no difference"


def test_large_effect(large):
    for aspect in ("level", "spread"):
        assert findings.finding(large, "uid_variance", "chat", "base", aspect).direction == "less"


def test_reversed_effect(turned):
    assert findings.finding(turned, "uid_variance", "chat", "base").direction == "more"


def test_few_texts_leave_it_open():
    tests = comparison_of(0, 1, n=20)
    assert findings.finding(tests, "uid_variance", "chat", "base").direction == "undecided"


@pytest.mark.parametrize("aspect", ["level", "spread"])
def test_a_pair_reads_the_same_from_both_sides(large, aspect):
    one = findings.finding(large, "uid_variance", "people", "chat", aspect)
    other = findings.finding(large, "uid_variance", "chat", "people", aspect)
    assert (one.direction, other.direction) == ("more", "less")
    assert one.low <= one.effect <= one.high
    assert other.low <= other.effect <= other.high
    assert other.effect == pytest.approx(-one.effect if aspect == "level" else 1 / one.effect)
    assert one.p == other.p


def test_numbers_are_those_of_the_table(large):
    row = large.query(
        "metric == 'uid_variance' and group_a == 'base' and group_b == 'chat' and test == 'mann_whitney_u'"
    ).iloc[0]
    found = findings.finding(large, "uid_variance", "base", "chat")
    assert (found.effect, found.low, found.high) == (row["effect"], row["ci_low"], row["ci_high"])
    assert found.p == row["p_adjusted_bh"]


def test_agreement(large, turned, none):
    a, b = (findings.findings(tests, ["uid_variance"], ["level"]) for tests in (large, turned))
    assert findings.agreement(a, a) == {"compared": 3, "same": 3, "opposite": 0}
    assert findings.agreement(a, b) == {"compared": 3, "same": 1, "opposite": 2}
    assert findings.agreement_sentence(a, b, "With another scorer") == (
        "With another scorer 1 of 3 findings are the same and 2 are reversed."
    )
    assert findings.paired_sentence(large, ["uid_variance"]) == (
        "Paired by prompt, 3 of 3 differences in level come out the same, none is reversed."
    )


def test_matched_lengths_in_words(large, turned):
    for shift, way in ((-1.5, "lower"), (1.5, "higher"), (0, "not clearly different")):
        models = mixed.fit_models(study(shift, 0.4), ["uid_variance"])
        sentence = findings.matched_sentence(models, "class[rlhf]")
        estimates = models.query("term == 'class[rlhf]' and response == 'level'")["estimate"]
        assert all(f"(by {number(value)}, 95 %" in sentence for value in estimates)
        assert sentence.startswith(
            "With length held constant, UID variance of texts of class rlhf, set against those of people, "
            f"is {way} on all texts"
        )
    assert "not estimated on all texts" in findings.matched_sentence(models, "class[instruct]")
    assert "of class base in the dataset news, is" in findings.matched_sentence(
        models, "class[rlhf]", reference="base", where="in the dataset news"
    )


def test_unknown_names_and_numbers(none):
    with pytest.raises(StudyError, match="did you mean 'people'"):
        findings.finding(none, "uid_variance", "peopel", "base")
    with pytest.raises(StudyError, match="did you mean 'uid_variance'"):
        findings.finding(none, "uid_varianc", "people", "base")
    rows = study(0, 1)
    counts = pd.DataFrame({"dataset": "made-up", "group": list(CLASSES), "texts": 401, "failed": 1})
    table = findings.numbers(summarise(rows, ["uid_variance"], counts))
    assert table["chat"]["uid_variance"]["missing"] == 1
    assert table["chat"]["uid_variance"]["mean"] == pytest.approx(
        rows.loc[rows["group"] == "chat", "uid_variance"].mean()
    )
