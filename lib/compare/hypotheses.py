"""The declared hypotheses of a study, tested on documents.

Each hypothesis is answered for each dataset and for all, by each scorer. The unit is the document
(`lib.compare.documents`); p-values are permutations within documents (`lib.compare.permutation`); effects
have intervals that resample documents within datasets (`lib.compare.document_bootstrap`).

The rows of all datasets by the study's first scorer are its **confirmatory** family: their p-values are
corrected together after Holm (1979). The equivalence tests of the same rows, two one-sided permutations
against ±`margin` (Schuirmann 1987), are a family of their own. Rows of a single dataset and of further
scorers are **supporting**: corrected alike among themselves, dataset by dataset and scorer by scorer, and
no part of the answer.

    verdict           rule
    supported         the difference is significant and has the direction that was expected
    reversed          it is significant and has the opposite direction
    no difference     it is not significant, and any difference lies within the margin
    open              neither

A hypothesis that expects `not less` (`not more`) is supported where it is shown, one-sided, that there is not
less (more) by the margin or beyond, and reversed where there is significantly less (more).
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.compare import bootstrap, document_bootstrap, named, permutation
from lib.compare.document_bootstrap import EFFECT_NAMES, NO_EFFECT
from lib.compare.documents import Measured, Stratum, strata
from lib.compare.families import ALPHA, holm
from lib.compare.measured import made_by, texts_of
from lib.compare.verdicts import ALL, Verdict
from lib.datasets import repository
from lib.errors import StudyError, nearest
from lib.params import (
    Contrast,
    Expectation,
    Human,
    LlamaCpp,
    Model,
    Weights,
    load_scorer,
    load_source,
    load_study,
)

SEED = 0
SCHEMA = pa.schema(
    [
        ("hypothesis", pa.string()),
        ("claim", pa.string()),  # what the hypothesis is a part of; empty if none
        ("sentence", pa.string()),
        ("dataset", pa.string()),  # ALL: every dataset together
        ("scorer", pa.string()),
        ("metric", pa.string()),
        ("aspect", pa.string()),
        ("of", pa.list_(pa.string())),
        ("against", pa.list_(pa.string())),
        ("expected", pa.string()),
        ("paired", pa.bool_()),  # by document; of ALL: in each dataset
        ("documents", pa.int64()),  # of a side, of the smaller one if they are not paired
        ("estimate", pa.float64()),  # in the metric's unit: of means, or of mean distances from the median
        ("unit", pa.float64()),  # what a margin of 1 is, in the metric's unit
        ("effect", pa.float64()),
        ("effect_name", pa.string()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("p", pa.float64()),
        ("p_adjusted", pa.float64()),  # Holm, over the hypotheses of this dataset and scorer
        ("p_equivalence", pa.float64()),
        ("p_equivalence_adjusted", pa.float64()),  # Holm, a family of its own
        ("margin", pa.float64()),  # standard deviations
        ("verdict", pa.string()),
        ("family", pa.string()),  # "confirmatory" (ALL, first scorer) or "supporting"
        ("independent", pa.bool_()),  # whether the scorer is none of the sources, nor a relative of one
    ]
)
FAMILIES = ("confirmatory", "supporting")


def answer(study_name: str) -> pd.DataFrame:
    """Test the hypotheses of a study, write `paths.hypotheses`, and return its rows (`SCHEMA`).

    Nothing is computed when the file is complete and its record unchanged. A study without hypotheses has
    no rows, and no file. Raises StudyError for a hypothesis that is not well declared (`check`) or an
    earlier step's file that is missing or broken.
    """
    declared = load_study(study_name)
    named.check(declared)
    study = repository.narrowed(study_name, declared)
    contrasts = [found for each in declared.contrasts() if (found := each.among(study.sources)) is not None]
    if not contrasts:
        return SCHEMA.empty_table().to_pandas()
    sources = tuple(dict.fromkeys(source for contrast in contrasts for source in contrast.sources))
    files = {
        (scorer, dataset, source): paths.uid(scorer, dataset, source)
        for scorer in study.scorers
        for dataset, source in repository.pairs(study_name, study)
        if source in sources
    }
    for (scorer, dataset, source), file in files.items():
        if not file.exists():
            store.read(file, made_by(study_name, scorer, dataset, source))  # says what makes it
    witnesses = {scorer: relatives(scorer, sources) for scorer in study.scorers}
    made = store.record(
        "04_hypotheses",
        parameters={
            "hypotheses": {
                contrast.name: contrast.declared.model_dump()
                | {"of": dict(contrast.of), "against": dict(contrast.against)}
                for contrast in contrasts
            },
            "relatives": {scorer: sorted(found) for scorer, found in witnesses.items()},
            "permutations": permutation.DRAWS,
            "draws": bootstrap.DRAWS,
            "confidence": bootstrap.CONFIDENCE,
            "seed": SEED,
        },
        inputs={"/".join(key): store.file_hash(file) for key, file in files.items()},
        packages=("numpy", "scipy", "statsmodels"),
        units={
            "p": "probability",
            "p_adjusted": "probability (Holm)",
            "p_equivalence": "probability",
            "p_equivalence_adjusted": "probability (Holm)",
            "margin": "standard deviations",
            "estimate": "the metric's unit",
            "unit": "the metric's unit",
        },
        code=CODE,
    )
    path = paths.hypotheses(study_name)
    with store.lock(path):
        if not store.is_complete(path, made):
            metrics = list(dict.fromkeys(contrast.declared.metric for contrast in contrasts))
            texts = {
                scorer: texts_of(study_name, study, scorer, sources, metrics) for scorer in study.scorers
            }
            store.write(path, answers(texts, contrasts, relatives=witnesses), SCHEMA, made)
    return store.read(path, f"make study STUDY={study_name}")


CODE = (
    "lib.compare.hypotheses",
    "lib.compare.documents",
    "lib.compare.permutation",
    "lib.compare.document_bootstrap",
    "lib.compare.bootstrap",
    "lib.compare.families",
)


def answers(
    texts: Mapping[str, pd.DataFrame],
    contrasts: Sequence[Contrast],
    *,
    relatives: Mapping[str, Collection[str]] | None = None,
    by_dataset: bool = True,
    intervals: bool = True,
    permutations: int | None = None,
    draws: int | None = None,
    seed: int = SEED,
) -> pd.DataFrame:
    """A row of `SCHEMA` per hypothesis, dataset (and `ALL`) and scorer.

    `texts` has, for each scorer and the deciding one first, one row per text with `doc_id`, `source`,
    `dataset` and the metrics; several rows of a document and source are samples. `relatives` are the
    sources of which a scorer is no independent witness. Without `by_dataset` there are the rows of `ALL`
    alone, without `intervals` no interval is made: simulations need neither. The same data and `seed`
    give the same rows.
    """
    first = next(iter(texts))
    rows = []
    for scorer, table in texts.items():
        measured = {metric: Measured.of(table, metric) for metric in _metrics(table, contrasts)}
        for contrast in contrasts:
            found = strata(measured[contrast.declared.metric], contrast)
            parts = [(stratum.dataset, [stratum]) for stratum in found] if by_dataset else []
            missing = set(measured[contrast.declared.metric].datasets) - {s.dataset for s in found}
            if by_dataset:
                parts += [(dataset, []) for dataset in sorted(missing)]
            known = set((relatives or {}).get(scorer, ()))
            common = {
                "hypothesis": contrast.name,
                **contrast.declared.model_dump(include={"claim", "sentence", "metric", "aspect", "margin"}),
                "of": list(contrast.of),
                "against": list(contrast.against),
                "expected": contrast.declared.expect,
                "scorer": scorer,
                "independent": not known & set(contrast.sources),
            }
            done: dict[int, dict[str, object]] = {}
            for dataset, some in [*parts, (ALL, found)]:
                row = done.get(len(some)) if len(found) == 1 else None  # ALL is the one dataset
                if row is None:
                    row = _tested(some, contrast, intervals, permutations, draws, seed)
                    done[len(some)] = row
                family = FAMILIES[not (dataset == ALL and scorer == first)]
                rows.append(common | {"dataset": dataset, "family": family} | row)
    return _judged(pd.DataFrame(rows, columns=[name for name in SCHEMA.names if name not in JUDGED]))


JUDGED = ("p_adjusted", "p_equivalence_adjusted", "verdict")


def _metrics(texts: pd.DataFrame, contrasts: Sequence[Contrast]) -> list[str]:
    metrics = list(dict.fromkeys(contrast.declared.metric for contrast in contrasts))
    for metric in metrics:
        if metric not in texts.columns:
            raise StudyError(f"The texts have no metric {metric!r}; {nearest(metric, texts.columns)}")
    return metrics


def _tested(
    found: Sequence[Stratum],
    contrast: Contrast,
    intervals: bool,
    permutations: int | None,
    draws: int | None,
    seed: int,
) -> dict[str, object]:
    """The numbers of one row; missing where there are too few documents or nothing varies."""
    aspect, margin = contrast.declared.aspect, contrast.declared.margin
    nothing = dict.fromkeys(("estimate", "unit", "effect", "ci_low", "ci_high", "p", "p_equivalence"), np.nan)
    row: dict[str, object] = {
        **nothing,
        "effect_name": EFFECT_NAMES[aspect],
        "paired": bool(found) and all(stratum.paired for stratum in found),
        "documents": sum(stratum.sides.documents for stratum in found),
    }
    if not found:
        return row
    unit = document_bootstrap.unit(found, aspect)
    sides = [stratum.sides for stratum in found]
    null = permutation.null(sides, permutation.DRAWS if permutations is None else permutations, seed)
    row |= {"estimate": null.observed, "unit": unit, "effect": document_bootstrap.effect(found, aspect)}
    if unit == 0:
        return row
    row |= {"p": null.p(), "p_equivalence": _equivalence(null, contrast.declared.expect, margin * unit)}
    if intervals:
        drawn = bootstrap.DRAWS if draws is None else draws
        row["ci_low"], row["ci_high"] = document_bootstrap.interval(found, aspect, drawn, seed)
    return row


def _equivalence(null: permutation.Null, expect: Expectation, margin: float) -> float:
    """The p-value of a difference of `margin` or beyond, in either direction or in the one that matters."""
    match expect:
        case "not less":
            return null.p_above(-margin)
        case "not more":
            return null.p_below(margin)
        case _:
            return max(null.p_above(-margin), null.p_below(margin))


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with p-values corrected over the hypotheses of each scorer and dataset, and verdicts."""
    rows = rows.copy()
    for column in ("p", "p_equivalence"):
        rows[f"{column}_adjusted"] = rows.groupby(["scorer", "dataset"])[column].transform(
            lambda p: holm(p.to_numpy())
        )
    rows["verdict"] = [
        verdict(row.expected, row.p_adjusted, row.p_equivalence_adjusted, _direction(row))
        for row in rows.itertuples()
    ]
    return rows[SCHEMA.names]


def _direction(row: object) -> int:
    """1 for more, −1 for less; 0 where the effect does not lie on the side of the tested difference."""
    aspect: str = row.aspect  # type: ignore[attr-defined]
    effect = np.sign(row.effect - NO_EFFECT[aspect])  # type: ignore[attr-defined,index]
    return int(effect) if effect == np.sign(row.estimate) else 0  # type: ignore[attr-defined]


def verdict(expect: Expectation, p: float, p_equivalence: float, direction: int) -> Verdict:
    """What became of a hypothesis; both p-values after correction, `direction` 1 for more, −1 for less."""
    differs = p < ALPHA and direction != 0
    within = p_equivalence < ALPHA
    match expect:
        case "more" | "less" | "different":
            if differs:
                as_expected = expect == "different" or direction == (1 if expect == "more" else -1)
                return "supported" if as_expected else "reversed"
            return "no difference" if within else "open"
        case _:
            ruled_out = -1 if expect == "not less" else 1
            if differs and direction == ruled_out:
                return "reversed"
            return "supported" if within else "open"


def relatives(scorer: str, sources: Sequence[str]) -> set[str]:
    """The sources of which `scorer` is no independent witness: of the same weights, or the same family."""
    weights = _names_of(load_scorer(scorer).weights)
    declared = {source: load_source(source) for source in sources}
    models = {source: model for source, model in declared.items() if isinstance(model, Model)}
    family = _family(scorer)
    families = {family} if family else set()
    families |= {model.family for model in models.values() if _names_of(model.weights) & weights}
    return {source for source, model in models.items() if source == scorer or model.family in families}


def _family(scorer: str) -> str | None:
    """The family of a scorer that is a model source, too."""
    try:
        source = load_source(scorer)
    except StudyError:  # a scorer alone
        return None
    return None if isinstance(source, Human) else source.family


def _names_of(weights: Weights) -> set[str]:
    """What the weights are called: by their engine, and unquantised."""
    names = {name for field in ("model", "reference") if (name := getattr(weights, field, None))}
    return names | {f"{weights.repo or ''}/{weights.file}"} if isinstance(weights, LlamaCpp) else names
