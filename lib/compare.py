"""Step 04: how groups of texts differ in level and in spread.

A comparison is a named set of sources of a study. Every pair of its groups is tested on every
metric; the p-values of a comparison are corrected together.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tqdm import tqdm

from lib import effects, mixed, paths, store
from lib.errors import StudyError
from lib.params import load_scorer, load_source, load_study

METRICS = (
    "tokens",
    "mean_surprisal",
    "uid_variance",
    "uid_pairwise",
    "coefficient_of_variation",
    "pairwise_ratio",
    "uid_variance_first_n",
)
TEST_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("group_a", pa.string()),
        ("group_b", pa.string()),
        ("test", pa.string()),
        ("n_a", pa.int64()),
        ("n_b", pa.int64()),
        ("statistic", pa.float64()),
        ("p", pa.float64()),
        ("p_adjusted", pa.float64()),  # Holm
        ("p_adjusted_bh", pa.float64()),  # Benjamini–Hochberg
        ("effect", pa.float64()),
        ("effect_name", pa.string()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
    ]
)
SUMMARY_SCHEMA = pa.schema(
    [
        ("group", pa.string()),
        ("text_class", pa.string()),
        ("dataset", pa.string()),
        ("metric", pa.string()),
        ("n", pa.int64()),
        ("missing", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "median", "std", "min", "q25", "q75", "max")),
    ]
)
SMALLEST_GROUP = 3


@dataclass(frozen=True)
class Comparison:
    """A comparison with everything it compares.

    `texts` has one row per text: `source`, `text_class`, `dataset`, `doc_id` and the metrics.
    """

    name: str
    title: str
    classes: dict[str, str]  # of each source
    scorer: str
    texts: pd.DataFrame
    summary: pd.DataFrame
    tests: pd.DataFrame
    models: pd.DataFrame
    computed_now: bool


def compare(given: Mapping[str, Any]) -> Comparison:
    """Compare the sources of a comparison of a study and write `paths.comparison` of its tables.

    `given` are the checked parameters of 04_compare. Raises StudyError for a comparison that does
    not exist, an earlier step's file that is missing or broken, or a group with too few texts.
    """
    study_name, name = given.get("study", "demo"), given.get("comparison", "all")
    study = load_study(study_name)
    sources = study.sources_of(name)
    datasets = (given["dataset"],) if "dataset" in given else study.datasets
    scorer = given.get("scorer", study.scorers[0])
    load_scorer(scorer)
    classes = {source: load_source(source).text_class for source in sources}
    files = {
        (dataset, source): paths.uid(scorer, dataset, source) for dataset in datasets for source in sources
    }
    texts = pd.concat(
        [
            store.read(file, _made_by(study_name, scorer, dataset, source)).assign(
                source=source, text_class=classes[source], dataset=dataset
            )
            for (dataset, source), file in files.items()
        ],
        ignore_index=True,
    )
    _check_sizes(texts, name)
    made = store.record(
        "04_compare",
        parameters={
            "comparison": name,
            **study.comparisons[name].model_dump(),
            "metrics": METRICS,
            "draws": effects.DRAWS,
        },
        inputs={f"{dataset}/{source}": store.file_hash(file) for (dataset, source), file in files.items()},
        packages=("numpy", "scipy", "statsmodels"),
        units={"p": "probability", "p_adjusted": "probability (Holm)"},
        code=("lib.compare", "lib.effects", "lib.mixed"),
    )
    outputs = {table: paths.comparison(name, table) for table in ("summary", "tests", "models")}
    stale = not all(store.is_complete(path, made) for path in outputs.values())
    if stale:
        pairs = study.comparisons[name].pairs
        store.write(outputs["summary"], summarise(texts), SUMMARY_SCHEMA, made)
        store.write(outputs["tests"], pairwise_tests(texts, pairs), TEST_SCHEMA, made)
        store.write(outputs["models"], mixed.fit_models(texts, sources, METRICS), mixed.SCHEMA, made)
    again = f"papermill notebooks/04_compare.ipynb OUT.ipynb -p comparison {name} -p study {study_name}"
    tables = {table: store.read(path, again) for table, path in outputs.items()}
    return Comparison(
        name=name,
        title=study.title,
        classes=classes,
        scorer=scorer,
        texts=texts,
        computed_now=stale,
        **tables,
    )


def _made_by(study: str, scorer: str, dataset: str, source: str) -> str:
    return (
        f"papermill notebooks/03_uid.ipynb OUT.ipynb -p model {source} -p study {study}"
        f" -p dataset {dataset} -p scorer {scorer}"
    )


def _check_sizes(texts: pd.DataFrame, name: str) -> None:
    for source, count in texts.groupby("source")["uid_variance"].count().items():
        if count < SMALLEST_GROUP:
            raise StudyError(
                f"Comparison {name!r} cannot be made: {source!r} has {count} measured texts, and at least "
                f"{SMALLEST_GROUP} are needed; write more with `-p generate`."
            )


def summarise(texts: pd.DataFrame) -> pd.DataFrame:
    """A row of `SUMMARY_SCHEMA` per source, dataset and metric."""
    long = texts.melt(
        ["source", "text_class", "dataset", "doc_id"], list(METRICS), var_name="metric", value_name="value"
    )
    grouped = long.groupby(["source", "text_class", "dataset", "metric"], sort=False)["value"]
    return grouped.agg(
        n="count",
        missing=lambda values: values.isna().sum(),
        mean="mean",
        median="median",
        std="std",
        min="min",
        q25=lambda values: values.quantile(0.25),
        q75=lambda values: values.quantile(0.75),
        max="max",
    ).reset_index(names=["group", "text_class", "dataset", "metric"])


def pairwise_tests(texts: pd.DataFrame, pairs: list[tuple[str, str]]) -> pd.DataFrame:
    """A row of `TEST_SCHEMA` per metric, pair and test; p-values corrected over all of them."""
    wide = {
        metric: texts.pivot(index=["dataset", "doc_id"], columns="source", values=metric)
        for metric in METRICS
    }
    work = tqdm([(metric, pair) for metric in METRICS for pair in pairs], unit="pair", desc="comparing")
    rows = pd.DataFrame([row for metric, pair in work for row in _tests(metric, *pair, wide[metric])])
    for column, method in (("p_adjusted", "holm"), ("p_adjusted_bh", "fdr_bh")):
        rows[column] = multipletests(rows["p"], method=method)[1]
    return rows


def _tests(metric: str, group_a: str, group_b: str, wide: pd.DataFrame) -> Iterator[dict[str, Any]]:
    both = wide[[group_a, group_b]].dropna()
    a, b = wide[group_a].dropna().to_numpy(float), wide[group_b].dropna().to_numpy(float)
    paired = len(both) == len(a) == len(b)
    if paired:  # in the same order of documents, for the bootstrap
        a, b = both[group_a].to_numpy(float), both[group_b].to_numpy(float)
    seed = zlib.crc32(f"{metric} {group_a} {group_b}".encode())

    def row(
        test: str, result: Any, effect_name: str, effect: float, ci: tuple[float, float]
    ) -> dict[str, Any]:
        return {
            "metric": metric,
            "group_a": group_a,
            "group_b": group_b,
            "test": test,
            "n_a": len(a),
            "n_b": len(b),
            "statistic": float(result.statistic),
            "p": float(result.pvalue),
            "effect": float(effect),
            "effect_name": effect_name,
            "ci_low": ci[0],
            "ci_high": ci[1],
        }

    def bootstrapped(test: str, result: Any, effect: Any) -> dict[str, Any]:
        ci = effects.interval(effect, a, b, paired=paired, seed=seed)
        return row(test, result, effect.__name__, effect(a, b), ci)

    yield bootstrapped("mann_whitney_u", stats.mannwhitneyu(a, b), effects.cliffs_delta)
    yield bootstrapped("welch_t", stats.ttest_ind(a, b, equal_var=False), effects.hedges_g)
    yield bootstrapped("brown_forsythe", stats.levene(a, b, center="median"), effects.variance_ratio)
    shape = stats.ks_2samp(a, b)
    yield row("kolmogorov_smirnov", shape, "ks_distance", shape.statistic, (np.nan, np.nan))
    if len(both) >= SMALLEST_GROUP:
        difference = (both[group_a] - both[group_b]).to_numpy(float)
        signed = stats.wilcoxon(difference)
        effect = effects.matched_rank_biserial(difference)
        yield row("wilcoxon_signed_rank", signed, "matched_rank_biserial", effect, (np.nan, np.nan)) | {
            "n_a": len(both),
            "n_b": len(both),
        }


def summary_table(compared: Comparison) -> pd.DataFrame:
    """Per source: texts, and mean ± standard deviation of the headline metrics."""
    rows = compared.texts.groupby("source", sort=False)
    table = pd.DataFrame({"source": list(compared.classes), "class": list(compared.classes.values())})
    table["texts"] = table["source"].map(rows.size())
    for metric in ("tokens", "mean_surprisal", "uid_variance", "uid_pairwise"):
        mean, std = rows[metric].mean(), rows[metric].std()
        table[metric] = [f"{mean[source]:.2f} ± {std[source]:.2f}" for source in table["source"]]
    return table


def level_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The Mann–Whitney tests with Cliff's delta."""
    return _effect_table(tests, "mann_whitney_u", "Cliff's delta")


def spread_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The Brown–Forsythe tests with the ratio of variances."""
    return _effect_table(tests, "brown_forsythe", "ratio of variances")


def _effect_table(tests: pd.DataFrame, test: str, effect: str) -> pd.DataFrame:
    rows = tests[
        (tests["test"] == test) & tests["metric"].isin(["mean_surprisal", "uid_variance", "uid_pairwise"])
    ]
    return pd.DataFrame(
        {
            "metric": rows["metric"],
            "first": rows["group_a"],
            "second": rows["group_b"],
            effect: rows["effect"],
            "95 % interval": [
                f"{low:.2f} to {high:.2f}" for low, high in zip(rows["ci_low"], rows["ci_high"], strict=True)
            ],
            "p": rows["p"].map("{:.2g}".format),
            "p (Holm)": rows["p_adjusted"].map("{:.2g}".format),
        }
    )


def model_table(models: pd.DataFrame, metric: str = "uid_variance") -> pd.DataFrame:
    """The fixed effects of the model of `metric`."""
    rows = models[models["metric"] == metric]
    return rows[["term", "estimate", "se", "z", "p", "ci_low", "ci_high", "converged"]]
