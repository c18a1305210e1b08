"""What became of hypotheses, in words: right for every verdict and every mixture of them."""

from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import pytest

from lib.compare import verdicts
from lib.compare.verdicts import VERDICTS
from lib.compare.wording import number

SENTENCES = {
    "people-level": "People's texts are less uniform than the models'",
    "rlhf-spread": "Texts tuned on preferences differ less among themselves than those of the base model.",
}
# Per verdict: effect, interval, p after Holm, p of equivalence, where less is expected.
NUMBERS = {
    "supported": (-0.4, -0.5, -0.3, 0.0004, 0.9),
    "reversed": (0.4, 0.3, 0.5, 0.0004, 0.9),
    "no difference": (0.01, -0.1, 0.12, 0.8, 0.003),
    "open": (-0.1, -0.35, 0.15, 0.4, 0.2),
}


def row(hypothesis: str, verdict: str, *, dataset: str = "all", scorer: str = "one", **given) -> dict:
    effect, low, high, p, p_equivalence = NUMBERS[verdict]
    return {
        "hypothesis": hypothesis,
        "claim": "",
        "sentence": SENTENCES.get(hypothesis, f"Sentence of {hypothesis}"),
        "dataset": dataset,
        "scorer": scorer,
        "metric": "uid_variance",
        "aspect": "level",
        "expected": "less",
        "documents": 150,
        "paired": True,
        "estimate": 2 * effect,
        "effect": effect,
        "effect_name": "standardised_mean_difference",
        "ci_low": low,
        "ci_high": high,
        "p": p / 2,
        "p_adjusted": p,
        "p_equivalence": p_equivalence / 2,
        "p_equivalence_adjusted": p_equivalence,
        "margin": 0.3,
        "verdict": verdict,
        "independent": True,
    } | given


def made_up(*rows: dict) -> list[verdicts.Answer]:
    return verdicts.answers(pd.DataFrame(list(rows)))


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_paragraph_says_the_sentence_the_verdict_and_the_numbers(verdict):
    (answer,) = made_up(row("people-level", verdict))
    said = answer.paragraph()
    assert said.startswith("People's texts are less uniform than the models'. " + verdicts.SAYS[verdict])
    others = [words for name, words in verdicts.SAYS.items() if name != verdict]
    assert not [words for words in others if words in said]
    assert "standardised difference of means " + number(NUMBERS[verdict][0]) in said
    assert "150 pairs of documents" in said
    assert ("a difference of the margin of 0.3 standard deviations: p = 0.003" in said) == (
        verdict == "no difference"
    )
    assert said.endswith(").")


def test_the_sign_of_the_data_turns_the_sentence():
    (supported,), (reversed_,) = (made_up(row("rlhf-spread", v)) for v in ("supported", "reversed"))
    assert "The data support this (standardised difference of means −0.40" in supported.paragraph()
    assert "The data say the reverse (standardised difference of means 0.40" in reversed_.paragraph()
    assert supported.decisive.direction == -reversed_.decisive.direction == -1


def test_a_small_decided_difference_is_said_to_be_small():
    (answer,) = made_up(row("people-level", "supported", p_equivalence_adjusted=0.001))
    assert (
        "The data support this, though the difference lies within the margin of 0.3 standard deviations"
        in answer.outcome()
    )


def test_what_cannot_be_tested_says_so():
    names = ("effect", "ci_low", "ci_high", "p", "p_adjusted", "p_equivalence", "p_equivalence_adjusted")
    missing = dict.fromkeys(names, np.nan)
    (answer,) = made_up(row("people-level", "open", **missing))
    assert "It could not be tested" in answer.paragraph()
    assert "nan" not in answer.paragraph() + verdicts.in_short([answer])
    assert verdicts.verdict_table([answer])["value (95 % interval)"].tolist() == ["undefined"]


@pytest.mark.parametrize("mixture", list(combinations_with_replacement(VERDICTS, 3)))
def test_the_count_is_of_every_mixture(mixture):
    found = made_up(*(row(f"h{place}", verdict) for place, verdict in enumerate(mixture)))
    said = verdicts.tally(found)
    for verdict in VERDICTS:
        count = mixture.count(verdict)
        words = verdicts.COUNTED[verdict][count != 1]
        expected = f"All 3 declared hypotheses {words}" if count == 3 else f"{count} {words}"
        assert (expected in said) == (count > 0), said
    assert verdicts.in_short(found).startswith(said)
    for place, verdict in enumerate(mixture):
        assert f"Sentence of h{place} ({verdict}" in verdicts.in_short(found)
    parts = verdicts.standing(found)
    assert parts == mixture[0] if len(set(mixture)) == 1 else f"of 3 {mixture[0]}" in parts
    left = verdicts.open_table(found)
    assert len(left) == sum(verdict not in verdicts.DECIDED for verdict in mixture)


def test_one_hypothesis_and_none_are_counted_too():
    assert verdicts.tally(made_up(row("h", "open"))) == ("The one declared hypothesis stays open.")
    assert "declares no hypotheses" in verdicts.tally([])
    assert "declares no hypotheses" in verdicts.in_short([])
    assert verdicts.disagreement([]) == ""


def test_datasets_are_told_apart_where_there_are_several():
    (one,) = made_up(row("h", "supported"), row("h", "supported", dataset="news"))
    assert one.by_dataset() == ""
    (alike,) = made_up(
        row("h", "supported"), row("h", "open", dataset="news"), row("h", "supported", dataset="tales")
    )
    assert alike.by_dataset().startswith("All 2 datasets point the same way (news −0.10")
    (apart,) = made_up(
        row("h", "open"), row("h", "reversed", dataset="news"), row("h", "supported", dataset="tales")
    )
    assert apart.by_dataset().startswith("The datasets do not all point the same way (news 0.40")
    assert apart.verdict == "open"


@pytest.mark.parametrize(
    ("first", "other", "short", "phrase", "sentence"),
    [
        ("supported", "supported", "agrees", "the verdict is the same", "No scorer disagrees"),
        (
            "supported",
            "reversed",
            "opposite",
            "decided in the opposite direction",
            "Scorers disagree in direction: by two, which is no independent witness, 1 of 1 hypothesis",
        ),
        ("supported", "open", "open", "it points the same way and is open", "No scorer disagrees"),
        (
            "reversed",
            "open",
            "open",
            "it points the other way and is open",
            "By two, which is no independent witness, 1 of 1 hypothesis points the other way, without",
        ),
    ],
)
def test_another_scorer_agrees_or_not(first, other, short, phrase, sentence):
    (answer,) = found = made_up(row("h", first), row("h", other, scorer="two", independent=False))
    assert verdicts.agrees(answer.decisive, answer.scorers[0]) == short
    assert phrase in answer.by_scorer()
    assert "By two, which is no independent witness," in answer.by_scorer()
    assert sentence in verdicts.disagreement(found)
    assert verdicts.verdict_table(found)["by two"].tolist() == [short]


def test_where_any_difference_counts_opposite_signs_are_no_agreement():
    different = {"expected": "different"}
    turned = {"effect": 0.4, "ci_low": 0.3, "ci_high": 0.5}
    (answer,) = made_up(
        row("h", "supported", **different), row("h", "supported", scorer="two", **different, **turned)
    )
    assert verdicts.agrees(answer.decisive, answer.scorers[0]) == "opposite"


def test_a_ratio_has_no_difference_at_one():
    (answer,) = made_up(row("h", "supported", effect=0.6, effect_name="variance_ratio"))
    assert answer.decisive.direction == -1
    assert "ratio of variances 0.60" in answer.paragraph()


def test_one_scorer_is_said_to_be_one():
    assert verdicts.disagreement(made_up(row("h", "open"))).startswith("All is by one scorer, one;")


@pytest.mark.parametrize(("verdict", "p"), [("supported", "p = 0.003"), ("open", "p = 0.200")])
def test_no_less_is_shown_by_the_test_against_the_margin(verdict, p):
    numbers = {"p_adjusted": 0.6, "p_equivalence_adjusted": 0.003 if verdict == "supported" else 0.2}
    (answer,) = made_up(row("h", verdict, expected="not less", **numbers))
    assert f"{verdicts.SAYS[verdict]} (" in answer.outcome()
    assert f"; less by the margin of 0.3 standard deviations: {p})." in answer.outcome()


def test_no_less_by_two_scorers_is_no_disagreement_though_the_signs_differ():
    given = {"expected": "not less", "p_adjusted": 0.6}
    (answer,) = made_up(
        row("h", "supported", **given), row("h", "supported", scorer="two", effect=0.1, **given)
    )
    assert verdicts.agrees(answer.decisive, answer.scorers[0]) == "agrees"


def test_claims_group_their_hypotheses():
    found = made_up(row("a", "supported", claim="C1"), row("b", "open", claim="C1"), row("c", "reversed"))
    grouped = verdicts.by_claim(found)
    assert {claim: [a.name for a in group] for claim, group in grouped.items()} == {
        "C1": ["a", "b"],
        "c": ["c"],
    }
    assert verdicts.standing(grouped["C1"]) == "1 of 2 supported, 1 open"
    assert verdicts.verdict_table(found)["claim"].tolist() == ["C1", "C1", ""]
