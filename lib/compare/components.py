"""What the spread of a source's texts is made of: the prompt, chance within a prompt, and length.

Of each source, with several samples of a prompt, by REML (Laird & Ware 1982; statsmodels' MixedLM):

    metric = a + b · log2(tokens) + u(document) + e(text)

The prompt's part is the variance of u, chance's that of e, length's b² times the variance of log2(tokens).
Intervals are ±1.96 standard errors of a jackknife that leaves out a twentieth of the documents at a time.
"""

import warnings

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

from lib.compare.measured import documents_of

PARTS = ("prompt", "chance", "length")
GROUPS = 20  # of documents, left out in turn
FEWEST = 40  # documents, so that two are left out at a time


def components(texts: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per source and part: `variance`, its `share` of all three, and the share's `low` and `high`.

    `texts` has `source`, `dataset`, `doc_id`, `tokens` and the metric, whose datasets' means are taken off
    first. Sources without several samples of a prompt, people's say, and with few documents, or where nothing
    varies, have no row.
    """
    rows = texts[texts[metric].notna() & (texts["tokens"] > 0)]
    found = []
    for source, own in rows.groupby("source", sort=False):
        document, names = pd.factorize(documents_of(own)[0])
        varies = own[metric].nunique() > 1 and own["tokens"].nunique() > 1
        if not varies or len(names) < FEWEST or len(own) < 1.5 * len(names):
            continue
        made = pd.DataFrame(
            {
                "value": own[metric] - own.groupby("dataset")[metric].transform("mean"),
                "length": np.log2(own["tokens"].astype(float)),
                "document": document,
            }
        )
        variance = _variances(made)
        share = variance / variance.sum()
        left = made["document"] % GROUPS
        others = np.array([_variances(made[left != group]) for group in range(GROUPS)])
        others /= others.sum(axis=1, keepdims=True)
        error = np.sqrt((GROUPS - 1) / GROUPS * ((others - others.mean(axis=0)) ** 2).sum(axis=0))
        low, high = np.clip(share - 1.96 * error, 0, 1), np.clip(share + 1.96 * error, 0, 1)
        columns = zip(PARTS, variance, share, low, high, strict=True)
        found += [(source, len(names), *values) for values in columns]
    return pd.DataFrame(found, columns=["source", "documents", "part", "variance", "share", "low", "high"])


def table(found: pd.DataFrame) -> pd.DataFrame:
    """A row per source of `components`: each part's share of the variance, with its interval."""
    said = [f"{row.share:.0%} ({row.low:.0%} to {row.high:.0%})" for row in found.itertuples()]
    wide = found.assign(said=said).pivot(index="source", columns="part", values="said")
    return wide.reindex(index=found["source"].unique(), columns=list(PARTS)).reset_index()


def _variances(rows: pd.DataFrame) -> np.ndarray:
    """Of the prompt, of chance and of length, [3]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of 0 lies on the border, and is an answer
        result = smf.mixedlm("value ~ length", rows, groups=rows["document"]).fit(reml=True)
    slope = float(result.fe_params["length"])
    return np.array([result.cov_re.iloc[0, 0], result.scale, slope**2 * rows["length"].var()], dtype=float)
