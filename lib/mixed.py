"""Mixed-effects models: a metric by source, with the length of a text held constant."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import statsmodels.formula.api as smf

SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("term", pa.string()),
        *((name, pa.float64()) for name in ("estimate", "se", "z", "p", "ci_low", "ci_high")),
        ("n", pa.int64()),
        ("groups", pa.int64()),
        ("converged", pa.bool_()),
        ("formula", pa.string()),
    ]
)


def fit_models(texts: pd.DataFrame, sources: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """A row of `SCHEMA` per metric and fixed effect; the first of `sources` is the reference.

    metric ~ source + log(tokens), and the dataset where there are several, with a random intercept
    per document, since one prompt gave each source a text. A fit that does not converge is kept and
    said to be so.
    """
    tables = [_fit(texts, sources, metric) for metric in metrics if metric != "tokens"]
    return pd.concat(tables, ignore_index=True)


def _fit(texts: pd.DataFrame, sources: Sequence[str], metric: str) -> pd.DataFrame:
    rows = texts.dropna(subset=[metric]).assign(
        document=lambda t: t["dataset"] + "/" + t["doc_id"], log_tokens=lambda t: np.log(t["tokens"])
    )
    rows["source"] = pd.Categorical(rows["source"], categories=list(sources))
    formula = f"{metric} ~ C(source) + log_tokens" + (
        " + C(dataset)" if rows["dataset"].nunique() > 1 else ""
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of stands in the column `converged`
        fitted = smf.mixedlm(formula, rows, groups=rows["document"]).fit(reml=True)
    intervals = fitted.conf_int()
    terms = fitted.fe_params.index
    return pd.DataFrame(
        {
            "metric": metric,
            "term": [_readable(term) for term in terms],
            "estimate": fitted.fe_params.to_numpy(),
            "se": fitted.bse_fe.to_numpy(),
            "z": fitted.tvalues[terms].to_numpy(),
            "p": fitted.pvalues[terms].to_numpy(),
            "ci_low": intervals.loc[terms, 0].to_numpy(),
            "ci_high": intervals.loc[terms, 1].to_numpy(),
            "n": int(fitted.nobs),
            "groups": rows["document"].nunique(),
            "converged": bool(fitted.converged),
            "formula": formula + " + (1 | document)",
        }
    )


def _readable(term: str) -> str:
    return term.replace("C(source)[T.", "source: ").replace("C(dataset)[T.", "dataset: ").rstrip("]")
