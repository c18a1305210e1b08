"""What a comparison found, in words and numbers that come from its tables.

A finding is about one metric, two groups and one aspect: *level* (Mann–Whitney, Cliff's delta) or
*spread* between texts (Brown–Forsythe, ratio of variances). Its direction is decided by rule, so
that a text which quotes it reads right whichever way the results fall:

    more, less       the difference test is significant after Benjamini and Hochberg, with that sign
    no difference    it is not, and the equivalence test is: any difference lies within the margin
    undecided        neither is: the data leave both open

Which test decides is said in `lib.compare.tests_between`. Findings are exploratory; what a study claims is
answered in `lib.compare.hypotheses`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from lib.compare.families import ALPHA
from lib.compare.tests_between import decides
from lib.compare.wording import number
from lib.errors import StudyError, nearest
from lib.uid.measures import HEADLINE

Aspect = Literal["level", "spread"]
Direction = Literal["more", "less", "no difference", "undecided"]
DIFFERENCE = {aspect: decides(aspect, "difference") for aspect in get_args(Aspect)}
EQUIVALENCE = {aspect: decides(aspect, "equivalence") for aspect in get_args(Aspect)}
NAMES = {
    "mean_surprisal": "mean surprisal",
    "uid_variance": "UID variance",
    "uid_pairwise": "UID pairwise",
    "tokens": "length",
}


@dataclass(frozen=True)
class Finding:
    """One answer. `effect` with `low` and `high` is Cliff's delta or the ratio of variances, a to b.

    `low` and `high` are missing where the bootstrap has no interval (groups that do not overlap).
    """

    metric: str
    group_a: str
    group_b: str
    aspect: Aspect
    direction: Direction
    effect: float
    low: float
    high: float
    p: float  # after Benjamini–Hochberg


def finding(
    tests: pd.DataFrame, metric: str, group_a: str, group_b: str, aspect: Aspect = "level"
) -> Finding:
    """What `tests` (the table of a comparison) say of a to b; the pair may stand there as b to a.

    Raises StudyError where the pair was not tested on the metric.
    """
    test = DIFFERENCE[aspect]
    difference, equivalence = (
        _row(tests, metric, group_a, group_b, some.name) for some in (test, EQUIVALENCE[aspect])
    )
    effect, low, high = (float(difference[column]) for column in ("effect", "ci_low", "ci_high"))
    if difference["group_a"] != group_a:
        effect, low, high = test.turn(effect, low, high)
    within = bool(equivalence["p_adjusted_bh"] < ALPHA)
    direction: Direction = "no difference" if within else "undecided"
    if difference["p_adjusted_bh"] < ALPHA:
        direction = "more" if effect > test.none else "less"
    return Finding(
        metric=metric,
        group_a=group_a,
        group_b=group_b,
        aspect=aspect,
        direction=direction,
        effect=effect,
        low=low,
        high=high,
        p=float(difference["p_adjusted_bh"]),
    )


def _row(tests: pd.DataFrame, metric: str, group_a: str, group_b: str, test: str) -> pd.Series:
    pair = tests["group_a"].isin([group_a, group_b]) & tests["group_b"].isin([group_a, group_b])
    found = tests[pair & (tests["metric"] == metric) & (tests["test"] == test)]
    if len(found) != 1:
        for name, known in ((metric, tests["metric"]), *((g, _groups(tests)) for g in (group_a, group_b))):
            if name not in set(known):
                raise StudyError(f"The comparison has no {name!r}; {nearest(name, set(known))}")
        raise StudyError(f"The comparison has no {test} of {metric} for {group_a!r} and {group_b!r}.")
    return found.iloc[0]


def _groups(tests: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys([*tests["group_a"], *tests["group_b"]]))


def findings(
    tests: pd.DataFrame,
    metrics: Sequence[str] = HEADLINE,
    aspects: Sequence[Aspect] = ("level", "spread"),
    pairs: Sequence[tuple[str, str]] | None = None,
) -> list[Finding]:
    """Every finding on `metrics`, of `pairs` or of all that were tested."""
    if pairs is None:
        pairs = list(dict.fromkeys(zip(tests["group_a"], tests["group_b"], strict=True)))
    tested = set(tests["metric"])
    return [
        finding(tests, metric, a, b, aspect)
        for aspect in aspects
        for metric in metrics
        if metric in tested
        for a, b in pairs
    ]


def tuned_pairs(classes: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """The pairs that the claim is about: "base" and "human" to the pairs of a tuned source with one."""
    tuned = [source for source, name in classes.items() if name in ("instruct", "rlhf")]
    return {
        other: [(a, b) for a in tuned for b, name in classes.items() if name == other]
        for other in ("base", "human")
    }


def pairs_to_begin_with(
    tests: pd.DataFrame, classes: Mapping[str, str], families: Mapping[str, str], most: int = 12
) -> list[tuple[str, str]]:
    """All pairs that were tested or, where they are more than `most`, those that the claim is about.

    These are each tuned source with people, and with the base models of its own family.
    """
    pairs = list(dict.fromkeys(zip(tests["group_a"], tests["group_b"], strict=True)))
    if len(pairs) <= most:
        return pairs
    claimed = {
        frozenset(pair)
        for other, found in tuned_pairs(classes).items()
        for pair in found
        if other == "human" or families[pair[0]] == families[pair[1]]
    }
    return [pair for pair in pairs if frozenset(pair) in claimed] or pairs


def agreement(first: Sequence[Finding], second: Sequence[Finding]) -> dict[str, int]:
    """How far two lists of findings agree: "compared", "same", "opposite" (more against less)."""
    other = {(f.metric, f.group_a, f.group_b, f.aspect): f.direction for f in second}
    pairs = [
        (f.direction, other[key])
        for f in first
        if (key := (f.metric, f.group_a, f.group_b, f.aspect)) in other
    ]
    return {
        "compared": len(pairs),
        "same": sum(a == b for a, b in pairs),
        "opposite": sum({a, b} == {"more", "less"} for a, b in pairs),
    }


def agreement_sentence(first: Sequence[Finding], second: Sequence[Finding], how: str) -> str:
    """`how` says what was different, as in "With another scorer"."""
    counts = agreement(first, second)
    if not counts["compared"]:
        return f"{how} there is nothing to compare with."
    opposite = counts["opposite"]
    turned = "none is reversed" if not opposite else f"{opposite} {'is' if opposite == 1 else 'are'} reversed"
    return f"{how} {counts['same']} of {counts['compared']} findings are the same and {turned}."


def paired_sentence(tests: pd.DataFrame, metrics: Sequence[str] = HEADLINE) -> str:
    """Whether the tests of texts paired by prompt say the same as the unpaired ones of level."""
    pairs = {}
    for test in ("mann_whitney_u", "wilcoxon_signed_rank"):
        rows = tests[(tests["test"] == test) & tests["metric"].isin(metrics)]
        signs = np.where(rows["p_adjusted_bh"] < ALPHA, np.sign(rows["effect"]), 0)
        keys = zip(rows["metric"], rows["group_a"], rows["group_b"], strict=True)
        pairs[test] = dict(zip(keys, signs, strict=True))
    both = [(sign, pairs["wilcoxon_signed_rank"][key]) for key, sign in pairs["mann_whitney_u"].items()
            if key in pairs["wilcoxon_signed_rank"]]  # fmt: skip
    if not both:
        return "No two groups have texts of the same prompts, so no test is paired."
    same, reversed_ = sum(a == b for a, b in both), sum(a * b < 0 for a, b in both)
    turned = "none is reversed" if not reversed_ else f"{reversed_} reversed"
    return f"Paired by prompt, {same} of {len(both)} differences in level come out the same, {turned}."


def matched_sentence(
    models: pd.DataFrame, term: str, metric: str = "uid_variance", reference: str = "human", where: str = ""
) -> str:
    """What the mixed models say of `term` (such as "class[rlhf]") on all texts and at matched length.

    `reference` is the class that the term is set against; `where` says for which part of the texts
    the term is ("in the dataset news"), where it is for a part.
    """
    name = NAMES.get(metric, metric)
    parts = []
    for sample, words in (("all", "on all texts"), ("length-matched", "on texts matched for length")):
        rows = models[
            (models["metric"] == metric)
            & (models["response"] == "level")
            & (models["sample"] == sample)
            & (models["term"] == term)
        ]
        if rows.empty:
            parts.append(f"not estimated {words}")
            continue
        row = rows.iloc[0]
        doubt = "" if row["converged"] else "; the fit did not converge"
        way = "higher" if row["ci_low"] > 0 else "lower" if row["ci_high"] < 0 else "not clearly different"
        parts.append(
            f"{way} {words} (by {number(row['estimate'])}, 95 % interval {number(row['ci_low'])} to "
            f"{number(row['ci_high'])}, {row['n']} texts{doubt})"
        )
    text_class = term.removeprefix("class[").removesuffix("]")
    others = "people" if reference == "human" else f"class {reference}"
    return (
        f"With length held constant, {name} of texts of class {text_class}, set against those of {others}"
        f"{where and ' '}{where}, is {parts[0]} and {parts[1]}."
    )


def numbers(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """numbers(summary)["human"]["uid_variance"]["mean"]: the summaries over all datasets."""
    rows = summary[summary["dataset"] == "all"] if (summary["dataset"] == "all").any() else summary
    columns = ["texts", "failed", "n", "missing", "mean", "median", "std", "min", "q25", "q75", "max"]
    made: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows.to_dict("records"):
        made.setdefault(row["group"], {})[row["metric"]] = {column: row[column] for column in columns}
    return made
