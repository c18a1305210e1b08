"""What became of a study's hypotheses, in words and numbers that come from `hypotheses.parquet`.

A hypothesis is a sentence that the study declares before the data. Its verdict was decided by rule,
over all datasets, by the study's first scorer:

    supported        the test stands after Holm's correction, in the direction expected
    reversed         it stands in the other direction
    no difference    it does not, and the equivalence test does: a difference lies within the margin
    open             neither: the data leave it open

The sentences here read right for each of the four, and for each mixture of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from lib.compare.wording import number, probability

Verdict = Literal["supported", "reversed", "no difference", "open"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ALL = "all"  # the rows over every dataset
DECIDED = ("supported", "reversed")
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
    "variance_ratio": "ratio of variances",
}
NUMBERS = ["estimate", "effect", "ci_low", "ci_high", "p", "p_adjusted", "p_equivalence", "margin"]


@dataclass(frozen=True)
class Reading:
    """One row of the table: a hypothesis in one dataset, or over all, by one scorer."""

    dataset: str
    scorer: str
    independent: bool  # of the sources: neither one of them nor a parent of one
    verdict: Verdict
    expected: str
    documents: int
    effect: float
    effect_name: str
    low: float
    high: float
    p: float  # after Holm, where the row decides; else as tested
    p_equivalence: float
    margin: float

    @property
    def direction(self) -> int:
        """The sign of the effect: 1 where the first side has more, −1 where it has less, else 0."""
        away = self.effect - none_of(self.effect_name)
        return int(np.sign(away)) if np.isfinite(away) else 0

    @property
    def decided(self) -> bool:
        return self.verdict in DECIDED

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
        return (
            f"{effect_label(self.effect_name)} {shown}{interval}, {probability(self.p)}, "
            f"{self.documents:,} document{'s' * (self.documents != 1)}"
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
        within = ""
        if self.verdict == "no difference":
            within = f"; equivalence {probability(reading.p_equivalence)}, margin {margin_text(reading)}"
        small = ""
        if reading.decided and reading.p_equivalence < 0.05:
            small = f", though the difference lies within the margin of {margin_text(reading)}"
        return f"{SAYS[self.verdict]}{small} ({reading.numbers}{within})."

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


def answers(
    table: pd.DataFrame,
    sentences: Mapping[str, str],
    claims: Mapping[str, str] | None = None,
    scorer: str | None = None,
) -> list[Answer]:
    """An answer per hypothesis, in the order in which they are declared.

    `table` is `hypotheses.parquet`; `sentences` and `claims` have each hypothesis' sentence and the
    claim that it belongs to; `scorer` decides, by default the table's first.
    """
    found = []
    decides = scorer or (table["scorer"].iloc[0] if len(table) else "")
    for name, sentence in sentences.items():
        rows = table[table["hypothesis"] == name]
        if rows.empty:
            continue
        datasets = [d for d in dict.fromkeys(rows["dataset"]) if d != ALL]
        whole = rows[rows["dataset"] == (ALL if (rows["dataset"] == ALL).any() else datasets[0])]
        by_scorer = [reading(row) for row in whole.to_dict("records")]
        (decisive,) = [r for r in by_scorer if r.scorer == decides]
        of_dataset = rows[(rows["scorer"] == decides) & (rows["dataset"] != ALL)]
        found.append(
            Answer(
                name=name,
                claim=(claims or {}).get(name, ""),
                sentence=sentence,
                metric=rows["metric"].iloc[0],
                aspect=rows["aspect"].iloc[0],
                decisive=decisive,
                datasets=tuple(map(reading, of_dataset.to_dict("records"))) if len(datasets) > 1 else (),
                scorers=tuple(r for r in by_scorer if r.scorer != decides),
            )
        )
    return found


def reading(row: Mapping) -> Reading:
    adjusted = float(row["p_adjusted"])
    return Reading(
        dataset=row["dataset"],
        scorer=row["scorer"],
        independent=bool(row.get("independent", True)),
        verdict=row["verdict"],
        expected=row["expected"],
        documents=int(row["documents"]),
        effect=float(row["effect"]),
        effect_name=row["effect_name"],
        low=float(row["ci_low"]),
        high=float(row["ci_high"]),
        p=adjusted if np.isfinite(adjusted) else float(row["p"]),
        p_equivalence=float(row["p_equivalence"]),
        margin=float(row["margin"]),
    )


def none_of(effect_name: str) -> float:
    """The value of an effect where there is no difference."""
    return 1.0 if is_ratio(effect_name) else 0.0


def is_ratio(effect_name: str) -> bool:
    return "ratio" in effect_name and "log" not in effect_name


def effect_label(effect_name: str) -> str:
    """How a sentence names an effect."""
    return EFFECTS.get(effect_name, effect_name.replace("_", " "))


def margin_text(found: Reading) -> str:
    return number(found.margin)


def witness(found: Reading) -> str:
    """What is said of a scorer that is a source, or the parent of one."""
    return "" if found.independent else ", which is no independent witness"


def agreement(first: Reading, other: Reading) -> str:
    """What `other`, by another scorer, says beside `first`: "the verdict is the same"."""
    if first.decided and other.decided and first.direction * other.direction < 0:
        return f"the difference is decided in the opposite direction ({other.numbers})"
    if first.verdict == other.verdict:
        return f"the verdict is the same ({other.effect_text}, {probability(other.p)})"
    same = first.direction * other.direction > 0
    way = "the same way" if same else "the other way"
    return f"it points {way} and is {other.verdict} ({other.effect_text}, {probability(other.p)})"


def agrees(first: Reading, other: Reading) -> str:
    """The same in a word or two, for a table: "agrees", "opposite", or what it says instead."""
    if first.decided and other.decided and first.direction * other.direction < 0:
        return "opposite"
    return "agrees" if first.verdict == other.verdict else other.verdict


def disagreement(found: Sequence[Answer]) -> str:
    """Whether scorers disagree in direction: a sentence, also where they do not or there is one."""
    if not found:
        return ""
    first = found[0].decisive.scorer
    if not any(answer.scorers for answer in found):
        return f"All is by one scorer, {first}; whether another would say the same is not tested."
    turned = [
        (answer.decisive.decided and other.decided, f"{answer.name} by {other.scorer}{witness(other)}")
        for answer in found
        for other in answer.scorers
        if answer.decisive.direction * other.direction < 0
    ]
    opposite, pointing = ([said for both, said in turned if both == decided] for decided in (True, False))
    sentences = []
    if opposite:
        sentences.append(f"Scorers disagree in direction, each decided: {_listed(opposite)}.")
    if pointing:
        begin = "Others point" if opposite else "No scorer decides against another, but some effects point"
        sentences.append(f"{begin} the other way than by {first}: {_listed(pointing)}.")
    return " ".join(sentences) or "No scorer disagrees with the first in direction."


def tally(found: Sequence[Answer]) -> str:
    """ "Of 5 hypotheses declared before the data, 3 are supported, 1 is reversed and 1 stays open." """
    if not found:
        return "This study declares no hypotheses: all of it is exploratory."
    counts = {verdict: sum(answer.verdict == verdict for answer in found) for verdict in VERDICTS}
    parts = [f"{count} {COUNTED[verdict][count != 1]}" for verdict, count in counts.items() if count]
    if len(parts) == 1:
        (verdict,) = {answer.verdict for answer in found}
        if len(found) == 1:
            return f"The one hypothesis declared before the data {COUNTED[verdict][0]}."
        return f"All {len(found)} hypotheses declared before the data {COUNTED[verdict][1]}."
    return f"Of {len(found)} hypotheses declared before the data, {_listed(parts)}."


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
    """Every verdict in a few lines: the count, then each hypothesis with its verdict and effect."""
    each = " ".join(
        f"{answer.sentence.rstrip('. ')}: {answer.verdict} "
        f"({effect_label(answer.decisive.effect_name)} {answer.decisive.effect_text})."
        for answer in found
    )
    return f"{tally(found)} {each}".strip()


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
