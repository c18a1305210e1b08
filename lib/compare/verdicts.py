"""What became of a study's hypotheses, in words and numbers that come from `hypotheses.parquet`.

A hypothesis is a sentence that the study declares. Its verdict was decided by rule
(`lib.compare.hypotheses`) and is taken as it stands there; the answer is that over all datasets by the
study's first scorer. The sentences here read right for each verdict, and for each mixture of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from lib.compare.wording import number, probability

Verdict = Literal["supported", "reversed", "no difference", "open"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ALL = "all"  # the rows over every dataset
DECIDED = ("supported", "reversed")
ALPHA = 0.05
# What a verdict says of a hypothesis' sentence, where the sentence stands before it.
SAYS = {
    "supported": "The data support this",
    "reversed": "The data say the reverse",
    "no difference": "The data show no difference beyond the margin",
    "open": "The data leave this open",
}
COUNTED = {
    "supported": ("is supported", "are supported"),
    "reversed": ("is reversed", "are reversed"),
    "no difference": ("shows no difference beyond its margin", "show no difference beyond their margins"),
    "open": ("stays open", "stay open"),
}
EFFECTS = {
    "cliffs_delta": "Cliff's delta",
    "cohens_d": "Cohen's d",
    "hedges_g": "Hedges' g",
    "matched_rank_biserial": "paired rank-biserial",
    "standardised_mean_difference": "standardised difference of means",
    "variance_ratio": "ratio of variances",
}
NON_INFERIOR = {"not less": "less", "not more": "more"}


@dataclass(frozen=True)
class Reading:
    """One row of the table: a hypothesis in one dataset, or over all, by one scorer."""

    dataset: str
    scorer: str
    independent: bool  # of the sources: neither one of them nor a parent of one
    verdict: Verdict
    expected: str
    documents: int
    paired: bool  # by document
    effect: float
    effect_name: str
    low: float
    high: float
    p: float  # after Holm
    p_equivalence: float  # after Holm
    margin: float  # standard deviations

    @property
    def direction(self) -> int:
        """The sign of the effect: 1 where the first side has more, −1 where it has less, else 0."""
        away = self.effect - none_of(self.effect_name)
        return int(np.sign(away)) if np.isfinite(away) else 0

    @property
    def decided(self) -> bool:
        return self.verdict in DECIDED

    @property
    def differs(self) -> bool:
        """Whether there is a difference, whatever was expected."""
        return self.p < ALPHA

    def opposes(self, other: "Reading") -> bool:
        """Whether both find a difference, and in opposite directions."""
        return self.differs and other.differs and self.direction * other.direction < 0

    @property
    def effect_text(self) -> str:
        """ "−0.41 (−0.50 to −0.31)", or "undefined" where nothing varies."""
        if not np.isfinite(self.effect):
            return "undefined"
        interval = f" ({number(self.low)} to {number(self.high)})" if np.isfinite(self.low) else ""
        return f"{number(self.effect)}{interval}"

    @property
    def numbers(self) -> str:
        """ "Cliff's delta −0.41, 95 % interval −0.50 to −0.31, p < 0.001, 150 documents"."""
        interval = f", 95 % interval {number(self.low)} to {number(self.high)}" * bool(np.isfinite(self.low))
        shown = number(self.effect) if np.isfinite(self.effect) else "undefined"
        pairs = "pairs of documents" if self.paired else "documents"
        return (
            f"{effect_label(self.effect_name)} {shown}{interval}, {probability(self.p)}, "
            f"{self.documents:,} {pairs}"
        )


@dataclass(frozen=True)
class Answer:
    """What the study says of one hypothesis. `claim` groups hypotheses ("C1"); it may be empty."""

    name: str
    claim: str
    sentence: str
    metric: str
    aspect: str
    decisive: Reading  # over all datasets, by the scorer that decides
    datasets: tuple[Reading, ...]  # each by the scorer that decides; none where there is one dataset
    scorers: tuple[Reading, ...]  # the further ones, over all datasets

    @property
    def verdict(self) -> Verdict:
        return self.decisive.verdict

    @property
    def said(self) -> str:
        """The hypothesis as a sentence that ends."""
        return self.sentence.rstrip(". ") + "."

    def outcome(self) -> str:
        """What the data say of the hypothesis' sentence, with the numbers."""
        reading = self.decisive
        if not np.isfinite(reading.p):
            return f"It could not be tested ({reading.documents:,} documents; nothing varies or is shared)."
        margin = f"the margin of {number(reading.margin, 1)} standard deviations"
        small, equivalence = "", ""
        if reading.expected in NON_INFERIOR or self.verdict == "no difference":
            equivalence = f"; {_ruled_out(reading)} {margin}: {probability(reading.p_equivalence)}"
        elif reading.decided and reading.p_equivalence < ALPHA:
            small = f", though the difference lies within {margin}"
        return f"{SAYS[self.verdict]}{small} ({reading.numbers}{equivalence})."

    def by_dataset(self) -> str:
        """Whether the datasets say the same; empty where there is one."""
        if not self.datasets:
            return ""
        each = "; ".join(f"{r.dataset} {r.effect_text}, {probability(r.p)}" for r in self.datasets)
        ways = {r.direction for r in self.datasets}
        if len(ways) == 1 and 0 not in ways:
            return f"All {len(self.datasets)} datasets point the same way ({each})."
        return f"The datasets do not all point the same way ({each})."

    def by_scorer(self) -> str:
        """Whether each further scorer says the same; empty where there is none."""
        return " ".join(f"By {r.scorer}{witness(r)}, {agreement(self.decisive, r)}." for r in self.scorers)

    def paragraph(self) -> str:
        """The hypothesis, what became of it, and whether datasets and scorers agree."""
        return " ".join(filter(None, (self.said, self.outcome(), self.by_dataset(), self.by_scorer())))


def answers(table: pd.DataFrame) -> list[Answer]:
    """An answer per hypothesis of `hypotheses.parquet`, in the order of declaration.

    The first scorer of the table decides, as in the study.
    """
    found = []
    for name, rows in table.groupby("hypothesis", sort=False):
        decides = table["scorer"].iloc[0]
        readings = [reading(row) for row in rows.to_dict("records")]
        whole = [r for r in readings if r.dataset == ALL]
        datasets = [r for r in readings if r.dataset != ALL and r.scorer == decides]
        first = rows.iloc[0]
        found.append(
            Answer(
                name=str(name),
                claim=first["claim"],
                sentence=first["sentence"],
                metric=first["metric"],
                aspect=first["aspect"],
                decisive=next(r for r in whole if r.scorer == decides),
                datasets=tuple(datasets) if len(datasets) > 1 else (),
                scorers=tuple(r for r in whole if r.scorer != decides),
            )
        )
    return found


def reading(row: Mapping[Any, Any]) -> Reading:
    """A row of the table."""
    return Reading(
        dataset=row["dataset"],
        scorer=row["scorer"],
        independent=bool(row["independent"]),
        verdict=row["verdict"],
        expected=row["expected"],
        documents=int(row["documents"]),
        paired=bool(row["paired"]),
        effect=float(row["effect"]),
        effect_name=row["effect_name"],
        low=float(row["ci_low"]),
        high=float(row["ci_high"]),
        p=float(row["p_adjusted"]),
        p_equivalence=float(row["p_equivalence_adjusted"]),
        margin=float(row["margin"]),
    )


def _ruled_out(found: Reading) -> str:
    """What the equivalence test of a row is about."""
    way = NON_INFERIOR.get(found.expected)
    return f"{way} by" if way else "a difference of"


def none_of(effect_name: str) -> float:
    """The value of an effect where there is no difference."""
    return 1.0 if is_ratio(effect_name) else 0.0


def is_ratio(effect_name: str) -> bool:
    return "ratio" in effect_name and "log" not in effect_name


def effect_label(effect_name: str) -> str:
    """How a sentence names an effect."""
    return EFFECTS.get(effect_name, effect_name.replace("_", " "))


def witness(found: Reading) -> str:
    """What is said of a scorer that is a source, or the parent of one."""
    return "" if found.independent else ", which is no independent witness"


def agreement(first: Reading, other: Reading) -> str:
    """What `other`, by another scorer, says beside `first`: "the verdict is the same"."""
    if first.opposes(other):
        return f"the difference is decided in the opposite direction ({other.numbers})"
    if first.verdict == other.verdict:
        return f"the verdict is the same ({other.effect_text}, {probability(other.p)})"
    same = first.direction * other.direction > 0
    way = "the same way" if same else "the other way"
    return f"it points {way} and is {other.verdict} ({other.effect_text}, {probability(other.p)})"


def agrees(first: Reading, other: Reading) -> str:
    """The same in a word or two, for a table: "agrees", "opposite", or what it says instead."""
    if first.opposes(other):
        return "opposite"
    return "agrees" if first.verdict == other.verdict else other.verdict


def disagreement(found: Sequence[Answer]) -> str:
    """Whether scorers disagree in direction: a sentence, also where they do not or there is one."""
    if not found:
        return ""
    first = found[0].decisive.scorer
    if not any(answer.scorers for answer in found):
        return f"All is by one scorer, {first}; whether another would say the same is not tested."
    sentences = [
        _turned(found, scorer) for scorer in dict.fromkeys(r.scorer for a in found for r in a.scorers)
    ]
    return " ".join(filter(None, sentences)) or f"No scorer disagrees with {first} in direction."


def _turned(found: Sequence[Answer], scorer: str) -> str:
    """In how many hypotheses `scorer` goes the other way than the one that decides; empty if in none."""
    both = [(a.decisive, r) for a in found for r in a.scorers if r.scorer == scorer]
    named = scorer + witness(both[0][1]) + "," * (not both[0][1].independent)
    opposite = sum(first.opposes(other) for first, other in both)
    turned = sum(first.direction * other.direction < 0 for first, other in both) - opposite
    several = f"{len(both)} hypotheses" if len(both) > 1 else "1 hypothesis"
    if opposite:
        also = f"; {turned} more point the other way without both being decided" if turned else ""
        verb = "is" if opposite == 1 else "are"
        return (
            f"Scorers disagree in direction: by {named} {opposite} of {several} {verb} decided in the "
            f"opposite direction{also}."
        )
    if turned:
        return (
            f"By {named} {turned} of {several} {'points' if turned == 1 else 'point'} the other way, "
            "without both being decided."
        )
    return ""


def tally(found: Sequence[Answer]) -> str:
    """ "Of 5 declared hypotheses, 3 are supported, 1 is reversed and 1 stays open." """
    if not found:
        return "This study declares no hypotheses: all of it is exploratory."
    counts = {verdict: sum(answer.verdict == verdict for answer in found) for verdict in VERDICTS}
    parts = [f"{count} {COUNTED[verdict][count != 1]}" for verdict, count in counts.items() if count]
    if len(parts) == 1:
        (verdict,) = {answer.verdict for answer in found}
        if len(found) == 1:
            return f"The one declared hypothesis {COUNTED[verdict][0]}."
        every = "Both" if len(found) == 2 else f"All {len(found)}"
        return f"{every} declared hypotheses {COUNTED[verdict][1]}."
    return f"Of {len(found)} declared hypotheses, {_listed(parts)}."


def by_claim(found: Sequence[Answer]) -> dict[str, list[Answer]]:
    """The answers of each claim; a hypothesis without one is a claim of its own."""
    groups: dict[str, list[Answer]] = {}
    for answer in found:
        groups.setdefault(answer.claim or answer.name, []).append(answer)
    return groups


def standing(found: Sequence[Answer]) -> str:
    """What became of a claim that these hypotheses make up: "supported", "2 of 3 supported, 1 open"."""
    verdicts = [answer.verdict for answer in found]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    first, *rest = [(verdicts.count(verdict), verdict) for verdict in VERDICTS if verdict in verdicts]
    return ", ".join([f"{first[0]} of {len(found)} {first[1]}", *(f"{n} {verdict}" for n, verdict in rest)])


def in_short(found: Sequence[Answer]) -> str:
    """Every verdict in a few lines: the count, then each hypothesis, those decided with their effect."""
    groups = []
    for claim, part in by_claim(found).items():
        each = "; ".join(f"{a.sentence.rstrip('. ')} ({_verdict(a)})" for a in part)
        groups.append(f"{claim}: {each}." if part[0].claim else f"{each}.")
    return " ".join([tally(found), *groups])


def _verdict(answer: Answer) -> str:
    effect = f", {effect_label(answer.decisive.effect_name)} {answer.decisive.effect_text}"
    return answer.verdict + effect * answer.decisive.decided


def open_table(found: Sequence[Answer]) -> pd.DataFrame:
    """What stays open, and where differences were shown to be small: one table in place of sentences."""
    rows = [answer for answer in found if answer.verdict not in DECIDED]
    return pd.DataFrame(
        {
            "hypothesis": [answer.said for answer in rows],
            "verdict": [answer.verdict for answer in rows],
            "effect": [effect_label(answer.decisive.effect_name) for answer in rows],
            "value (95 % interval)": [answer.decisive.effect_text for answer in rows],
            "p (Holm)": [_p(answer.decisive.p) for answer in rows],
            "p (equivalence)": [_p(answer.decisive.p_equivalence) for answer in rows],
        }
    )


def verdict_table(found: Sequence[Answer]) -> pd.DataFrame:
    """Every hypothesis with its verdict, effect, documents and p, and what each further scorer says."""
    table = pd.DataFrame(
        {
            "hypothesis": [answer.said for answer in found],
            "verdict": [answer.verdict for answer in found],
            "effect": [effect_label(answer.decisive.effect_name) for answer in found],
            "value (95 % interval)": [answer.decisive.effect_text for answer in found],
            "documents": [answer.decisive.documents for answer in found],
            "p (Holm)": [_p(answer.decisive.p) for answer in found],
        }
    )
    if any(answer.claim for answer in found):
        table.insert(0, "claim", [answer.claim for answer in found])
    for scorer in dict.fromkeys(r.scorer for answer in found for r in answer.scorers):
        said = {a.name: agrees(a.decisive, r) for a in found for r in a.scorers if r.scorer == scorer}
        table[f"by {scorer}"] = [said.get(answer.name, "") for answer in found]
    return table


def _p(p: float) -> str:
    return probability(p).removeprefix("p ").removeprefix("= ")


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
