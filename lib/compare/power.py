"""What a study would find: simulated studies of a declared size, by the test functions of step 04.

A text's metric is drawn, in standard deviations, as

    level + scale · (√correlation · u + √(1 − correlation − chance) · v + √chance · e)

with u the document's own on every source, v the document's on one source, e the sample's, all normal:
`correlation` is that of two sources' texts of a prompt, `chance` the share of the variance between texts that
another sample of the same prompt would have too. Both come from a finished study (`of_pilot`) or are stated.

For each hypothesis in turn its effect alone is put into the data: the sources of `of` are moved (level) or
scaled (spread) in the direction expected, and everything is tested and corrected together
(`lib.compare.hypotheses.answers`). Its **power** is the share of studies that end with the verdict
"supported". One that expects `not less` (`not more`) is to be supported where there is no difference.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations

import numpy as np
import pandas as pd
from scipy import stats

from lib import machine
from lib.compare.families import ALPHA
from lib.compare.hypotheses import answers
from lib.compare.measured import documents_of, texts_of
from lib.errors import StudyError
from lib.params import Contrast, Study, load_source, load_study
from lib.progress import Bar

WANTED = 0.8  # of studies that find it
STUDIES = 60  # per point
GRID = (0.5, 0.75, 1.0, 1.25, 1.6, 2.2)  # effects, of the one that a normal approximation gives
MORE = (1, 2, 4, 8)  # times the prompts, or as many samples
MEAN_DISTANCE, SPREAD_DISTANCE = math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)  # of |normal|


@dataclass(frozen=True)
class Population:
    """How the texts of one metric come about; levels and scales are of sources, in standard deviations."""

    correlation: float = 0.3
    chance: float = 0.5
    level: Mapping[str, float] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.correlation >= 0 and self.chance >= 0 and self.correlation + self.chance <= 1):
            raise StudyError(
                f"A correlation of {self.correlation:g} and a share of chance of {self.chance:g} cannot be: "
                f"both are at least 0, and together at most 1."
            )

    @property
    def alike(self) -> "Population":
        """The same without a difference between sources."""
        return Population(self.correlation, self.chance)


@dataclass(frozen=True)
class Size:
    """Prompts of each dataset, and samples of each source."""

    prompts: Mapping[str, int]
    samples: Mapping[str, int]

    def times(self, factor: int) -> "Size":
        return Size({name: factor * count for name, count in self.prompts.items()}, self.samples)

    def with_samples(self, samples: int) -> "Size":
        more = {name: samples if load_source(name).text_class != "human" else 1 for name in self.samples}
        return Size(self.prompts, more)


def size_of(study: Study, prompts: int | None = None) -> Size:
    """What the study declares: each dataset's prompts as far as every model continues them."""
    models = {name: load_source(name) for name in study.sources}
    wanted = [m.sampling.generate for m in models.values() if m.text_class != "human"]  # type: ignore[union-attr]
    most = prompts or min(wanted, default=0)
    if not most:
        raise StudyError("Nobody knows how many prompts a study without models has; name it with --prompts.")
    samples = {name: 1 if m.text_class == "human" else study.samples for name, m in models.items()}
    return Size(dict.fromkeys(study.datasets, most), samples)


def of_pilot(pilot: str, study: Study, chance: float = Population.chance) -> dict[str, Population]:
    """Of each metric of the study's hypotheses: what the finished study `pilot` shows, by its first scorer.

    `chance` is taken as stated where no source of the pilot has two samples of a prompt. Raises StudyError
    for a pilot without measures, or one that shares no model with the study.
    """
    declared = load_study(pilot)
    metrics = sorted({hypothesis.metric for hypothesis in study.hypotheses.values()})
    columns, again = ["sample", *metrics], f"make study STUDY={pilot}"
    texts = texts_of(pilot, declared, declared.scorers[0], declared.sources, columns, again)
    return {metric: _estimated(texts, metric, study, chance) for metric in metrics}


def _estimated(texts: pd.DataFrame, metric: str, study: Study, chance: float) -> Population:
    rows = texts[texts[metric].notna()]
    rows = rows.assign(document=documents_of(rows)[0])
    centred = rows[metric] - rows.groupby(["source", "dataset"])[metric].transform("mean")
    by_source = centred.groupby(rows["source"])
    unit = float(np.sqrt(by_source.var().mean()))
    if not unit > 0:
        raise StudyError(f"In the pilot {metric} does not vary; name another study with PILOT=.")
    wide = rows.assign(value=centred)[rows["sample"] == 0].pivot(
        index="document", columns="source", values="value"
    )
    shared = [wide[a].corr(wide[b]) for a, b in combinations(wide.columns, 2)]
    correlation = float(np.clip(np.nanmean(shared) if shared else Population.correlation, 0, 1))
    of_prompt = centred.groupby([rows["source"], rows["document"]])
    several = of_prompt.transform("size") > 1
    if several.any():
        within = of_prompt.var()[of_prompt.size() > 1].mean()
        chance = float(within / centred[several].groupby(rows["source"]).var().mean())
    chance = float(np.clip(chance, 0, 1 - correlation))
    means = rows.groupby("source")[metric].mean()
    level = {s: float((means[s] - means.mean()) / unit) for s in study.sources if s in means.index}
    scale = {s: float(by_source.std()[s] / unit) for s in study.sources if s in means.index}
    return Population(correlation, chance, level, scale)


def drawn(
    size: Size, populations: Mapping[str, Population], rng: np.random.Generator, moved: "Effect | None" = None
) -> pd.DataFrame:
    """The texts of one study, as step 04 reads them, with an effect put in."""
    parts = []
    for dataset, prompts in size.prompts.items():
        common = {metric: rng.normal(size=prompts) for metric in populations}
        for source, samples in size.samples.items():
            columns: dict[str, object] = {
                "doc_id": np.tile(np.arange(prompts), samples),
                "source": source,
                "dataset": dataset,
            }
            for metric, has in populations.items():
                own, each = rng.normal(size=prompts), rng.normal(size=(samples, prompts))
                text = math.sqrt(has.correlation) * common[metric] + math.sqrt(has.chance) * each
                text = text + math.sqrt(max(1 - has.correlation - has.chance, 0.0)) * own
                level, scale = has.level.get(source, 0.0), has.scale.get(source, 1.0)
                if moved is not None and metric == moved.metric and source in moved.sources:
                    level, scale = level + moved.level, scale * moved.scale
                columns[metric] = (level + scale * text).ravel()
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Effect:
    """A difference put into the data: `level` in standard deviations, `scale` a factor of them."""

    metric: str
    sources: tuple[str, ...]
    level: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, contrast: Contrast, amount: float) -> "Effect":
        """`amount`, of a level in standard deviations, of a spread the logarithm of the variances' ratio."""
        metric, sources = contrast.declared.metric, tuple(contrast.of)
        amount *= {"less": -1, "not less": 0, "not more": 0}.get(contrast.declared.expect, 1)
        if contrast.declared.aspect == "level":
            return cls(metric, sources, level=amount)
        return cls(metric, sources, scale=math.exp(amount / 2))


def at_margin(contrast: Contrast) -> float:
    """The amount of a difference as large as the margin."""
    margin = contrast.declared.margin
    if contrast.declared.aspect == "level":
        return margin
    factor = 1 + margin * SPREAD_DISTANCE / MEAN_DISTANCE
    if contrast.declared.expect == "less":
        factor = 1 / max(1 - margin * SPREAD_DISTANCE / MEAN_DISTANCE, 0.05)
    return 2 * math.log(factor)


def approximate(contrast: Contrast, size: Size, has: Population, tests: int) -> float:
    """The amount that a normal approximation says `WANTED` of studies find, to begin with."""
    prompts, samples = sum(size.prompts.values()), min(size.samples[s] for s in contrast.of)
    reach = stats.norm.isf(ALPHA / 2 / tests) + stats.norm.ppf(WANTED)
    if contrast.declared.aspect == "level":
        return float(reach * math.sqrt(2 * (1 - has.correlation - has.chance * (1 - 1 / samples)) / prompts))
    return float(reach * math.sqrt(4 / prompts) * 1.2)


def power(
    contrasts: Sequence[Contrast],
    size: Size,
    populations: Mapping[str, Population],
    moved: Effect | None = None,
    studies: int = STUDIES,
    seed: int = 0,
) -> pd.Series:
    """The share of simulated studies in which each hypothesis is supported, by its name."""
    found = [_one(contrasts, size, populations, moved, [seed, number]) for number in range(studies)]
    return pd.Series(np.mean(found, axis=0), index=[contrast.name for contrast in contrasts])


def _one(
    contrasts: Sequence[Contrast],
    size: Size,
    populations: Mapping[str, Population],
    moved: Effect | None,
    seed: Sequence[int],
) -> list[bool]:
    texts = drawn(size, populations, np.random.default_rng(seed), moved)
    # So many that the smallest p-value, times the number of tests, is well below the level.
    permutations = max(999, 160 * len(contrasts))
    rows = answers(
        {"": texts}, contrasts, by_dataset=False, intervals=False, permutations=permutations, seed=seed[-1]
    )
    supported = set(rows.loc[rows["verdict"] == "supported", "hypothesis"])
    return [contrast.name in supported for contrast in contrasts]


@dataclass(frozen=True)
class Point:
    """One place at which a hypothesis' power is asked for."""

    hypothesis: int
    kind: str  # "effect", "prompts" or "samples"
    amount: float
    size: Size


def plan(
    contrasts: Sequence[Contrast],
    size: Size,
    populations: Mapping[str, Population],
    studies: int = STUDIES,
    processes: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per hypothesis, and a row per point at which its power was simulated.

    Of hypotheses: `power` at the declared size of a difference as large as the margin, `smallest` the
    effect that `WANTED` of studies find, `prompts` in all and `samples` that a difference as large as
    the margin takes (missing: more than `MORE` of the declared ones). Of points: `kind`, `x`, `power`.
    """
    alike = {metric: has.alike for metric, has in populations.items()}
    curves = [
        curve
        for i, contrast in enumerate(contrasts)
        for curve in _curves(i, contrast, contrasts, size, alike)
    ]
    task = partial(_along, contrasts=contrasts, populations=alike, studies=studies)
    with ProcessPoolExecutor(processes or machine.processors()) as pool:
        along = list(
            Bar(pool.map(task, curves), total=len(curves), unit="curve", desc="planning", disable=None)
        )
    points, shares = list(chain.from_iterable(curves)), list(chain.from_iterable(along))
    rows = pd.DataFrame(
        {
            "hypothesis": [contrasts[point.hypothesis].name for point in points],
            "kind": [point.kind for point in points],
            "x": [_shown(point, contrasts[point.hypothesis]) for point in points],
            "amount": [point.amount for point in points],
            "power": shares,
        }
    )
    table = pd.DataFrame([_summed_up(contrast, rows, size) for contrast in contrasts])
    return table, rows.drop(columns="amount")


def _curves(
    number: int,
    contrast: Contrast,
    contrasts: Sequence[Contrast],
    size: Size,
    alike: Mapping[str, Population],
) -> list[list[Point]]:
    """The points of a hypothesis by their kind, in each the power rises."""
    margin = at_margin(contrast)
    curves = [[Point(number, "prompts", margin, size.times(factor)) for factor in MORE]]
    curves.append([Point(number, "samples", margin, size.with_samples(samples)) for samples in MORE])
    if contrast.declared.expect not in ("not less", "not more"):
        guess = approximate(contrast, size, alike[contrast.declared.metric], len(contrasts))
        curves.append([Point(number, "effect", factor * guess, size) for factor in GRID])
    return curves


def _along(
    points: Sequence[Point],
    contrasts: Sequence[Contrast],
    populations: Mapping[str, Population],
    studies: int,
) -> list[float]:
    """The power at each of `points`. Beyond one at which every study finds it, nothing is simulated."""
    shares: list[float] = []
    for point in points:
        found = bool(shares) and shares[-1] == 1
        shares.append(1.0 if found else _at(point, contrasts, populations, studies))
    return shares


def _at(
    point: Point, contrasts: Sequence[Contrast], populations: Mapping[str, Population], studies: int
) -> float:
    contrast = contrasts[point.hypothesis]
    moved = Effect.of(contrast, point.amount)
    return float(power(contrasts, point.size, populations, moved, studies)[contrast.name])


def _shown(point: Point, contrast: Contrast) -> float:
    match point.kind:
        case "prompts":
            return sum(point.size.prompts.values())
        case "samples":
            return max(point.size.samples.values())
        case _:
            return effect_of(contrast, point.amount)


def effect_of(contrast: Contrast, amount: float) -> float:
    """The effect as tables have it: signed standard deviations, or the ratio of variances."""
    moved = Effect.of(contrast, amount)
    return moved.level if contrast.declared.aspect == "level" else moved.scale**2


def _summed_up(contrast: Contrast, rows: pd.DataFrame, size: Size) -> dict[str, object]:
    own = rows[rows["hypothesis"] == contrast.name]
    of = {kind: own[own["kind"] == kind] for kind in ("effect", "prompts", "samples")}
    amount = reached(of["effect"]["amount"], of["effect"]["power"]) if len(of["effect"]) else math.nan
    return {
        "hypothesis": contrast.name,
        "sentence": contrast.declared.sentence,
        "aspect": contrast.declared.aspect,
        "margin": contrast.declared.margin,
        "power": float(of["prompts"]["power"].iloc[0]),
        "smallest": effect_of(contrast, amount) if math.isfinite(amount) else math.nan,
        "prompts": reached(of["prompts"]["x"], of["prompts"]["power"]),
        "samples": reached(of["samples"]["x"], of["samples"]["power"]),
    }


def reached(x: pd.Series, share: pd.Series, wanted: float = WANTED) -> float:
    """Where `share` first comes to `wanted`, on straight lines between the points; nan if nowhere.

    Shares of simulated studies may fall by chance where the true ones rise: they are made to rise.
    """
    places, heights = x.to_numpy(float), np.maximum.accumulate(share.to_numpy(float))
    above = np.flatnonzero(heights >= wanted)
    if not len(above):
        return math.nan
    i = int(above[0])
    if i == 0:
        return float(places[0])
    rise = (wanted - heights[i - 1]) / (heights[i] - heights[i - 1])
    return float(places[i - 1] + rise * (places[i] - places[i - 1]))
