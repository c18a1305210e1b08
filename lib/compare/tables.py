"""A comparison's tables as the notebook of step 04 shows them."""

import numpy as np
import pandas as pd

from lib.compare import findings
from lib.compare.comparison import ALL, Comparison
from lib.compare.tests_between import BY_NAME
from lib.params import load_source
from lib.uid import contours as of_position
from lib.uid.measures import HEADLINE


def summary_table(compared: Comparison) -> pd.DataFrame:
    """Per source: texts, how many failed, how many are measured, and mean ± standard deviation."""
    rows = compared.texts.groupby("source", sort=False)
    table = pd.DataFrame({"source": list(compared.classes), "class": list(compared.classes.values())})
    written = compared.counts.groupby("source")[["texts", "failed"]].sum()
    for column in ("texts", "failed"):
        table[column] = table["source"].map(written[column])
    table["measured"] = table["source"].map(rows["uid_variance"].count())
    for metric in ("tokens", *HEADLINE):
        mean, std = rows[metric].mean(), rows[metric].std()
        table[metric] = [f"{mean[source]:.2f} ± {std[source]:.2f}" for source in table["source"]]
    return table


def original_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The summaries laid out as the original study printed them: source, n, metric, mean … max."""
    whole = summary["dataset"].isin([ALL]) if (summary["dataset"] == ALL).any() else summary["n"] >= 0
    rows = summary[whole & summary["metric"].isin(["tokens", *HEADLINE])].rename(columns={"group": "source"})
    return rows[["source", "n", "metric", "mean", "median", "std", "min", "max"]].reset_index(drop=True)


def level_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The Mann–Whitney tests with Cliff's delta."""
    return _effect_table(tests, "mann_whitney_u")


def paired_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The Wilcoxon tests of texts paired by their prompt, with the rank-biserial of the pairs."""
    return _effect_table(tests, "wilcoxon_signed_rank")


def spread_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The Brown–Forsythe tests with the ratio of variances."""
    return _effect_table(tests, "brown_forsythe")


def shape_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The Kolmogorov–Smirnov tests with their distance."""
    return _effect_table(tests, "kolmogorov_smirnov").drop(columns="95 % interval")


def pairs_to_begin_with(compared: Comparison) -> list[tuple[str, str]]:
    """The pairs of the first figure (`lib.compare.findings.pairs_to_begin_with`)."""
    families = {source: load_source(source).family for source in compared.classes}
    return findings.pairs_to_begin_with(compared.tests, compared.classes, families)


def contours(compared: Comparison) -> pd.DataFrame:
    """Mean surprisal by relative position, per source (`lib.uid.contours.of_sources`)."""
    there = compared.texts[["dataset", "source"]].drop_duplicates()
    return of_position.of_sources(compared.scorer, list(there.itertuples(index=False)), compared.classes)


def _effect_table(tests: pd.DataFrame, test: str) -> pd.DataFrame:
    rows = tests[(tests["test"] == test) & tests["metric"].isin(HEADLINE)]
    return pd.DataFrame(
        {
            "metric": rows["metric"],
            "first": rows["group_a"],
            "second": rows["group_b"],
            BY_NAME[test].label: rows["effect"],
            "95 % interval": _intervals(rows),
            "p": rows["p"].map(probability),
            "p (BH)": rows["p_adjusted_bh"].map(probability),
        }
    )


def equivalence_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The equivalence tests of the headline metrics: level and spread."""
    rows = tests[tests["test"].str.startswith("tost_") & tests["metric"].isin(HEADLINE)]
    return pd.DataFrame(
        {
            "metric": rows["metric"],
            "first": rows["group_a"],
            "second": rows["group_b"],
            "of": rows["test"].str.removeprefix("tost_"),
            "difference (sd)": rows["effect"],
            "90 % interval": _intervals(rows),
            "margin (sd)": rows["margin"],
            "p (BH)": rows["p_adjusted_bh"].map(probability),
        }
    )


def _intervals(rows: pd.DataFrame) -> list[str]:
    ends = rows[["ci_low", "ci_high"]].to_numpy()
    return [f"{low:.2f} to {high:.2f}" if np.isfinite(low) else "none" for low, high in ends]


def probability(p: float) -> str:
    """ "< 0.001", "0.012", or "undefined"."""
    return "undefined" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def model_table(
    models: pd.DataFrame, metric: str = "uid_variance", response: str = "level", sample: str = "all"
) -> pd.DataFrame:
    """The fixed effects of one model: of `response` (level, spread) on `sample` (all, length-matched)."""
    rows = models[
        (models["metric"] == metric) & (models["response"] == response) & (models["sample"] == sample)
    ]
    return rows[["term", "estimate", "se", "z", "p", "ci_low", "ci_high", "converged"]].assign(
        p=rows["p"].map(probability), converged=rows["converged"].map({True: "yes", False: "no"})
    )
