"""Do the tests of hypotheses hold what they promise? Simulated studies, by the functions of step 04.

    python benchmarks/coverage.py [--studies 1000] [--documents 150]

Studies are drawn from a population with known differences in level and in spread. As in the real ones,
texts of a prompt go together (a document has an effect of its own, on every source and on each), models
write several samples and people one, two families of models are pooled, lengths differ between classes,
a metric is noisier on a short text, with a tail to the right, and two datasets differ in level and in
scale. Printed are the share of studies whose 95 % interval covers the truth, the share of studies
without any difference in which the confirmatory family finds one, and the power of each hypothesis after
Holm's correction.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from lib.compare.hypotheses import answers
from lib.params import Contrast, Hypothesis

METRIC = "uid_variance"
SKEW = 24.0  # shape of the gamma noise: skewness 0.41, about that of a text's UID variance
OWN = 0.4  # of a text's noise, the share that is the document's in that source; the rest is the sample's
# Two datasets, the second with a third of the documents and of another level and scale.
DATASETS = {"news": (2 / 3, 0.0, 1.0), "stories": (1 / 3, 2.0, 1.3)}
PERMUTATIONS = 1999


@dataclass(frozen=True)
class Population:
    """How the texts of one class come about; a metric in arbitrary units, lengths in tokens."""

    level: float = 0.0
    spread: float = 1.0
    median_length: float = 220

    def draw(self, document: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
        """The metric of one source's texts, [samples, documents], for each document's effect [documents]."""
        shape = (samples, len(document))
        length = np.clip(self.median_length * np.exp(0.5 * rng.normal(size=shape)), 60, 1024)
        noise = np.sqrt(OWN) * _noise(len(document), rng) + np.sqrt(1 - OWN) * _noise(shape, rng)
        return self.level + self.spread * (0.6 * document + 0.8 * noise * np.sqrt(220 / length))


def _noise(shape: int | tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    return (rng.gamma(SKEW, size=shape) - SKEW) / np.sqrt(SKEW)


@dataclass(frozen=True)
class Design:
    """Families of models, each a base and a tuned one, and how many samples a model writes of a prompt."""

    families: tuple[str, ...]
    samples: int

    @property
    def sources(self) -> dict[str, str]:
        """Each source with its class."""
        models = {f"{kind}-{family}": kind for kind in ("base", "tuned") for family in self.families}
        return {"people": "people"} | models


DESIGNS = {
    "one model of a class, one sample": Design(("x",), 1),
    "two models of a class, two samples": Design(("x", "y"), 2),
}
# What tuned models do; base models and people are of the second population.
SCENARIOS = {
    "no difference": (Population(), Population()),
    "level": (Population(level=0.4), Population(median_length=150)),
    "spread": (Population(spread=1.5), Population()),
    "level and spread": (Population(level=-0.6, spread=0.6), Population(median_length=300)),
}
# Those that are null whatever tuned models do stand beside those that are not, as in a real family.
HYPOTHESES = {
    "base and people": ("base", "people", "level"),
    "tuned and people": ("tuned", "people", "level"),
    "tuned and base": ("tuned", "base", "level"),
    "spread, tuned and base": ("tuned", "base", "spread"),
    "spread, tuned and people": ("tuned", "people", "spread"),
}


def contrasts(design: Design) -> list[Contrast]:
    sides: dict[str, dict[str, float]] = {}
    for source, kind in design.sources.items():
        sides.setdefault(kind, {})[source] = 1.0 if kind == "people" else 1 / len(design.families)
    return [
        Contrast(
            name,
            Hypothesis.model_validate(
                {
                    "sentence": name,
                    "metric": METRIC,
                    "aspect": aspect,
                    "of": list(sides[of]),
                    "against": list(sides[against]),
                    "expect": "different",
                }
            ),
            sides[of],
            sides[against],
        )
        for name, (of, against, aspect) in HYPOTHESES.items()
    ]


def study(
    tuned: Population, others: Population, design: Design, documents: int, rng: np.random.Generator
) -> pd.DataFrame:
    """The texts of one study as step 04 reads them."""
    effect = rng.normal(size=documents)
    first = round(documents * DATASETS["news"][0])
    dataset = np.repeat(list(DATASETS), [first, documents - first])
    shift, scale = (np.array([DATASETS[name][i] for name in DATASETS]) for i in (1, 2))
    at = (dataset == "stories").astype(int)
    columns: dict[str, list[np.ndarray]] = {"doc_id": [], "source": [], "dataset": [], METRIC: []}
    for source, kind in design.sources.items():
        samples = 1 if kind == "people" else design.samples
        values = (tuned if kind == "tuned" else others).draw(effect, samples, rng)
        columns[METRIC].append((shift[at] + scale[at] * values).ravel())
        columns["doc_id"].append(np.tile(np.arange(documents), samples))
        columns["source"].append(np.full(samples * documents, source))
        columns["dataset"].append(np.tile(dataset, samples))
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def truth(scenario: str, design: Design, documents: int = 400_000) -> pd.Series:
    """The effects in the population, from a study of very many `documents`, by hypothesis."""
    texts = study(*SCENARIOS[scenario], design, documents, np.random.default_rng(1))
    found = answers({"scorer": texts}, contrasts(design), by_dataset=False, intervals=False, permutations=9)
    return found.set_index("hypothesis")["effect"]


def tested(seed: int, scenario: str, design: Design, documents: int, draws: int) -> pd.DataFrame:
    """The answers to one simulated study; without intervals where `draws` is 0."""
    texts = study(*SCENARIOS[scenario], design, documents, np.random.default_rng([7, seed]))
    return answers(
        {"scorer": texts},
        contrasts(design),
        by_dataset=False,
        intervals=draws > 0,
        permutations=PERMUTATIONS,
        draws=draws,
        seed=seed,
    ).assign(study=seed)


def many(scenario: str, design: Design, studies: int, documents: int, draws: int = 0) -> pd.DataFrame:
    """The answers to `studies` simulated studies."""
    one = partial(tested, scenario=scenario, design=design, documents=documents, draws=draws)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return pd.concat(pool.map(one, range(studies), chunksize=10), ignore_index=True)


def covered(found: pd.DataFrame, true: Mapping[str, float]) -> pd.Series:
    """The share of intervals that hold the truth, by hypothesis."""
    at = found["hypothesis"].map(true)
    return ((found["ci_low"] <= at) & (at <= found["ci_high"])).groupby(found["hypothesis"]).mean()


def errs(found: pd.DataFrame) -> dict[str, float]:
    """Of studies without a difference, the share in which the family finds one, and a wrong equivalence."""
    smallest = found.groupby("study")[["p", "p_adjusted"]].min()
    return {
        "uncorrected": float((smallest["p"] < 0.05).mean()),
        "Holm": float((smallest["p_adjusted"] < 0.05).mean()),
    }


def power(found: pd.DataFrame) -> pd.Series:
    """The share of studies that find a difference after Holm's correction, by hypothesis."""
    return (found["p_adjusted"] < 0.05).groupby(found["hypothesis"]).mean()


def lines(studies: int, documents: int, draws: int) -> Iterator[str]:
    for called, design in DESIGNS.items():
        for scenario in SCENARIOS:
            found = many(scenario, design, studies, documents, draws)
            coverage = covered(found, truth(scenario, design).to_dict()).round(3).to_dict()
            made = {"design": called, "scenario": scenario, "coverage": coverage}
            if scenario == "no difference":
                made |= {"studies that err": errs(found)}
            yield json.dumps(made | {"power": power(found).round(3).to_dict()})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=150)
    parser.add_argument("--draws", type=int, default=2000, help="of the bootstrap; 0: no intervals")
    given = parser.parse_args()
    for line in lines(given.studies, given.documents, given.draws):
        print(line, flush=True)


if __name__ == "__main__":
    main()
