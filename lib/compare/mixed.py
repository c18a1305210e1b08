"""Mixed-effects models: a metric by class and dataset, with the length of a text held constant."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import statsmodels.formula.api as smf
from scipy import optimize, stats
from statsmodels.regression.mixed_linear_model import MixedLMParams

SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("response", pa.string()),  # level: the metric; spread: its distance from the group's median
        ("sample", pa.string()),  # all, or length-matched
        ("term", pa.string()),
        *((name, pa.float64()) for name in ("estimate", "se", "z", "p", "ci_low", "ci_high")),
        ("n", pa.int64()),
        ("documents", pa.int64()),
        ("document_variance", pa.float64()),  # of the random intercepts
        ("residual_variance", pa.float64()),
        ("residual_skewness", pa.float64()),
        ("residual_kurtosis", pa.float64()),  # excess; 0 for normal residuals
        ("converged", pa.bool_()),
        ("note", pa.string()),  # what the fit warned of, or why there is none
        ("formula", pa.string()),
    ]
)
MODELLED = ("mean_surprisal", "uid_variance", "uid_pairwise")
BINS_PER_DOUBLING = 4
LOG_RATIOS = (-14.0, 7.0)  # of the documents' variance to the residual one, from none to nearly all
FEWEST = 20  # texts that a model is fitted to


def fit_models(texts: pd.DataFrame, metrics: Sequence[str] = MODELLED) -> pd.DataFrame:
    """A row of `SCHEMA` per model and fixed effect.

    metric ~ class × dataset + log2(tokens) with a random intercept per document, since one prompt
    gave each source a text (Laird & Ware 1982), fitted by REML: of the metric itself (level) and of
    its distance from the median of its class and dataset (spread, as Brown & Forsythe 1974 compare
    it), on all texts and on texts matched for length. Human texts are the reference where there are
    any. Where all texts are of one class, the groups take its place. A fit that does not converge is
    kept and said to be so.
    """
    samples = {"all": texts, "length-matched": matched_lengths(texts)}
    fits = [
        _fit(rows, metric, response).assign(metric=metric, response=response, sample=sample)
        for metric in metrics
        for response in ("level", "spread")
        for sample, rows in samples.items()
    ]
    return pd.concat(fits, ignore_index=True)[SCHEMA.names]


def matched_lengths(texts: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Texts of which each class has equally many of each length, within each dataset.

    Lengths are matched coarsely (Iacus et al. 2012), in bins of a quarter of a doubling; from a bin
    as many texts of each class are drawn as the rarest class has there, none where one has none.
    """
    rows = texts[texts["tokens"] > 0].copy()
    by = _factor(rows)
    rows["bin"] = np.floor(np.log2(rows["tokens"].astype(float)) * BINS_PER_DOUBLING)
    sizes = rows.groupby(["dataset", "bin", by]).size().unstack(fill_value=0)
    fewest = sizes.reindex(columns=rows[by].unique(), fill_value=0).min(axis=1)
    shuffled = rows.sample(frac=1, random_state=seed)
    number = shuffled.groupby(["dataset", "bin", by]).cumcount()
    allowed = pd.MultiIndex.from_frame(shuffled[["dataset", "bin"]]).map(fewest)
    return shuffled[number.to_numpy() < np.asarray(allowed, dtype=float)].sort_index().drop(columns="bin")


def residuals(texts: pd.DataFrame, metric: str, response: str = "level") -> pd.DataFrame:
    """Of the model on all texts: `source`, `text_class`, `fitted`, `residual`, in the metric's unit."""
    rows, _, result, _ = _fitted(texts, metric, response)
    if result is None:
        return pd.DataFrame({"source": [], "text_class": [], "fitted": [], "residual": []})
    kept = rows[["source", "text_class"]].reset_index(drop=True)
    return kept.assign(fitted=np.asarray(result.fittedvalues), residual=np.asarray(result.resid))


def _factor(texts: pd.DataFrame) -> str:
    return "text_class" if texts["text_class"].nunique() > 1 else "group"


def _fit(texts: pd.DataFrame, metric: str, response: str) -> pd.DataFrame:
    rows, formula, result, note = _fitted(texts, metric, response)
    shown = formula.replace("response", metric if response == "level" else f"|{metric} − median|")
    about: dict[str, Any] = {
        "n": len(rows),
        "documents": rows["document"].nunique(),
        "formula": f"{shown} + (1 | document)",
        "note": note,
    }
    numbers = ("estimate", "se", "z", "p", "ci_low", "ci_high")
    if result is None:
        return pd.DataFrame(
            [dict.fromkeys(SCHEMA.names, np.nan) | about | {"term": None, "converged": False}]
        )
    terms = result.fe_params.index
    intervals = result.conf_int()
    columns = (
        result.fe_params,
        result.bse_fe,
        result.tvalues[terms],
        result.pvalues[terms],
        intervals.loc[terms, 0],
        intervals.loc[terms, 1],
    )
    found = {name: np.asarray(column, dtype=float) for name, column in zip(numbers, columns, strict=True)}
    return pd.DataFrame(
        found
        | about
        | {
            "term": [_readable(term) for term in terms],
            "document_variance": float(result.cov_re.iloc[0, 0]),
            "residual_variance": float(result.scale),
            "residual_skewness": float(stats.skew(result.resid)),
            "residual_kurtosis": float(stats.kurtosis(result.resid)),
            "converged": bool(result.converged) and bool(np.isfinite(found["se"]).all()),
        }
    )


def _fitted(texts: pd.DataFrame, metric: str, response: str) -> tuple[pd.DataFrame, str, Any, str]:
    """Rows, formula, statsmodels' result (None if there is none) and what there is to say about it."""
    rows = texts[texts[metric].notna() & (texts["tokens"] > 0)].copy()
    by = _factor(texts)
    rows["document"] = rows["dataset"] + "/" + rows["doc_id"]
    rows["log_tokens"] = np.log2(rows["tokens"].astype(float))
    rows["response"] = rows[metric]
    if response == "spread":
        rows["response"] = (rows[metric] - rows.groupby([by, "dataset"])[metric].transform("median")).abs()
    levels = sorted(rows[by].unique(), key=lambda level: (level != "human", level))
    rows[by] = pd.Categorical(rows[by], categories=levels)
    several = rows["dataset"].nunique() > 1
    formula = f"response ~ {by}" + (" * dataset" if several else "") + " + log_tokens"
    if len(rows) < FEWEST or len(levels) < 2:
        return rows, formula, None, f"not fitted: {len(rows)} texts of {len(levels)} groups"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = smf.mixedlm(formula, rows, groups=rows["document"])
            start = _start(model.exog, model.endog, pd.factorize(rows["document"])[0])
            result = model.fit(reml=True, start_params=start)
        except (np.linalg.LinAlgError, ValueError) as error:
            return rows, formula, None, f"not fitted: {error}"
    return rows, formula, result, "; ".join(dict.fromkeys(str(warning.message) for warning in caught))


def _start(exog: np.ndarray, endog: np.ndarray, documents: np.ndarray) -> MixedLMParams:
    """Where the fit begins: the maximum of the restricted likelihood in the one ratio that it depends on.

    `exog` [texts, terms], `endog` [texts], `documents` [texts] numbered from 0. With fixed effects
    and scale at their best for it, the likelihood is a function of the ratio of the documents' variance
    to the residual one (Lindstrom & Bates 1988), and costs a few sums per document. statsmodels, which
    begins at a ratio of 1 otherwise and may stop before the maximum, has then little left to do.
    """
    texts, terms = exog.shape
    columns = np.column_stack([exog, endog])
    sizes = np.bincount(documents).astype(float)
    sums = np.zeros((len(sizes), terms + 1))
    np.add.at(sums, documents, columns)
    products = columns.T @ columns

    def at(log_ratio: float) -> tuple[float, np.ndarray]:
        """−2 × the log-likelihood, but for a constant, and the fixed effects."""
        ratio = np.exp(log_ratio)
        weighted = products - (sums * (ratio / (1 + sizes * ratio))[:, None]).T @ sums
        within, cross, total = weighted[:-1, :-1], weighted[:-1, -1], weighted[-1, -1]
        effects = np.linalg.solve(within, cross)
        deviance = (texts - terms) * np.log(total - cross @ effects) + np.log1p(sizes * ratio).sum()
        return deviance + np.linalg.slogdet(within)[1], effects

    best = optimize.minimize_scalar(
        lambda log_ratio: at(log_ratio)[0], bounds=LOG_RATIOS, method="bounded", options={"xatol": 1e-8}
    ).x
    return MixedLMParams.from_components(fe_params=at(best)[1], cov_re=np.array([[np.exp(best)]]))


def _readable(term: str) -> str:
    """ "class[rlhf]" for patsy's "text_class[T.rlhf]"."""
    return term.replace("text_class", "class").replace("[T.", "[").replace("log_tokens", "log2(tokens)")
