"""Do the intervals and the corrected tests of step 04 hold what they promise? A simulation.

    python benchmarks/coverage.py [--studies 1000] [--texts 150]

Studies are drawn from a population with known differences in level and in spread. As in the real
ones, texts of a prompt go together (a document has an effect of its own), lengths differ between
groups and a metric is noisier on a short text, with a tail to the right. Printed are the share of
studies whose 95 % interval covers the truth, the share of studies without any difference in which
some test of the corrected family finds one, and the power of each test.
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.compare import bootstrap
from lib.compare.bootstrap import Group, Resamples
from lib.compare.comparison import pairwise_tests

SKEW = 24.0  # shape of the gamma noise: skewness 0.41, about that of a text's UID variance
DIFFERENCES = ("mann_whitney_u", "welch_t", "brown_forsythe", "kolmogorov_smirnov", "wilcoxon_signed_rank")


@dataclass(frozen=True)
class Population:
    """How the texts of one group come about; a metric in arbitrary units, lengths in tokens."""

    level: float = 0.0
    spread: float = 1.0
    median_length: float = 220

    def draw(self, document: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One text's metric for each document effect, [documents]."""
        length = np.clip(self.median_length * np.exp(0.5 * rng.normal(size=document.shape)), 60, 1024)
        noise = (rng.gamma(SKEW, size=document.shape) - SKEW) / np.sqrt(SKEW)
        return self.level + self.spread * (0.6 * document + 0.8 * noise * np.sqrt(220 / length))


SCENARIOS = {
    "no difference": (Population(), Population()),
    "level": (Population(level=0.4), Population(median_length=150)),
    "spread": (Population(spread=1.5), Population()),
    "level and spread": (Population(level=-0.6, spread=0.6), Population(median_length=300)),
}


def truth(a: Population, b: Population, texts: int = 2_000_000) -> dict[str, float]:
    """The effects in the population, from `texts` documents."""
    rng = np.random.default_rng(1)
    document = rng.normal(size=texts)
    x, y = a.draw(document, rng), b.draw(document, rng)
    apart = rng.permutation(y)  # of other documents
    difference = x - y
    walsh = difference + rng.permutation(difference)
    return {
        "cliffs_delta": float(np.sign(x - apart).mean()),
        "hedges_g": float((x.mean() - y.mean()) / np.sqrt((x.var() + y.var()) / 2)),
        "variance_ratio": float(x.var() / y.var()),
        "matched_rank_biserial": float(np.sign(walsh).mean()),
    }


def coverage(name: str, studies: int, texts: int, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """The share of `studies` whose interval covers the truth, by effect."""
    populations = SCENARIOS[name]
    true = truth(*populations)
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(bootstrap.EFFECTS, 0)
    for study in range(studies):
        document = rng.normal(size=texts)
        groups = {
            group: Group(population.draw(document, rng), np.arange(texts))
            for group, population in zip("ab", populations, strict=True)
        }
        resamples = Resamples(np.zeros(texts), draws, seed=study)
        found = bootstrap.intervals(groups, [("a", "b")], resamples)["a", "b"]
        for effect, (low, high) in found.items():
            hits[effect] += low <= true[effect] <= high
    return {effect: count / studies for effect, count in hits.items()}


def families(name: str, studies: int, texts: int, seed: int = 0) -> pd.DataFrame:
    """The difference tests of `studies` families: two groups of the first population, one of the second."""
    first, second = SCENARIOS[name]
    rng = np.random.default_rng(seed)
    tables = []
    for study in range(studies):
        document = rng.normal(size=texts)
        rows = [
            pd.DataFrame(
                {
                    "doc_id": [str(i) for i in range(texts)],
                    "dataset": "made-up",
                    "group": group,
                    **{metric: population.draw(document, rng) for metric in ("m1", "m2", "m3")},
                }
            )
            for group, population in (("a", first), ("a2", first), ("b", second))
        ]
        pairs = [("a", "b"), ("a2", "b"), ("a", "a2")]
        tests = pairwise_tests(pd.concat(rows, ignore_index=True), pairs, ("m1", "m2", "m3"), draws=1)
        tables.append(tests[tests["test"].isin(DIFFERENCES)].assign(study=study))
    return pd.concat(tables, ignore_index=True)


def false_positives(studies: int, texts: int) -> dict[str, float]:
    """Of studies without a difference, the share in which the corrected family finds one."""
    tests = families("no difference", studies, texts)
    smallest = tests.groupby("study")[["p", "p_adjusted", "p_adjusted_bh"]].min()
    return {name: float((smallest[name] < 0.05).mean()) for name in smallest}


def power(name: str, studies: int, texts: int) -> dict[str, float]:
    """The share of Holm-corrected tests between different populations that find the difference."""
    tests = families(name, studies, texts)
    apart = tests[tests["group_b"] == "b"]
    return (apart["p_adjusted"] < 0.05).groupby(apart["test"]).mean().to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--texts", type=int, default=150)
    given = parser.parse_args()
    covered = {name: coverage(name, given.studies, given.texts) for name in SCENARIOS}
    print("coverage of 95 % intervals\n" + pd.DataFrame(covered).T.to_string(float_format="%.3f"), flush=True)
    wrong = false_positives(given.studies, given.texts)
    print("studies without a difference in which a test finds one:", json.dumps(wrong), flush=True)
    few = max(given.studies // 5, 1)
    found = {name: power(name, few, given.texts) for name in SCENARIOS if name != "no difference"}
    print("power after Holm\n" + pd.DataFrame(found).T.to_string(float_format="%.3f"))


if __name__ == "__main__":
    main()
