"""Mixed-effects models: a metric by class and dataset, with the length of a text held constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import statsmodels.formula.api as smf
from scipy import optimize, stats

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
OF_A_TEXT = ["doc_id", "source", "group", "text_class", "dataset", "tokens"]
BINS_PER_DOUBLING = 4
LOG_RATIOS = (-14.0, 7.0)  # of the documents' variance to the residual one, from none to nearly all
FEWEST = 20  # texts that a model is fitted to
AT_THE_EDGE = 0.01  # of LOG_RATIOS, within which the search has ended there


@dataclass(frozen=True)
class Fit:
    """A model with a random intercept per document, fitted by REML: arrays [terms] and [texts]."""

    terms: list[str]
    estimate: np.ndarray
    se: np.ndarray  # given the variances, as lme4 reports them (Bates et al. 2015)
    document_variance: float
    residual_variance: float
    fitted: np.ndarray  # what is predicted of a text, its document's intercept included
    residual: np.ndarray
    converged: bool
    note: str


def fit_models(texts: pd.DataFrame, metrics: Sequence[str] = MODELLED) -> pd.DataFrame:
    """A row of `SCHEMA` per model and fixed effect.

    metric ~ class × dataset + log2(tokens) with a random intercept per document, since one prompt
    gave each source a text (Laird & Ware 1982), fitted by REML (`reml`): of the metric itself (level) and of
    its distance from the median of its class and dataset (spread, as Brown & Forsythe 1974 compare
    it), on all texts and on texts matched for length. Human texts are the reference where there are
    any. Where all texts are of one class, the groups take its place. A fit that does not converge is
    kept and said to be so.
    """
    texts = texts[[*OF_A_TEXT, *metrics]]  # each model and each sample copies its rows
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
    return kept.assign(fitted=result.fitted, residual=result.residual)


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
    if result is None:
        return pd.DataFrame(
            [dict.fromkeys(SCHEMA.names, np.nan) | about | {"term": None, "converged": False}]
        )
    z = result.estimate / result.se
    reach = stats.norm.ppf(0.975) * result.se
    return pd.DataFrame(
        {
            "term": [_readable(term) for term in result.terms],
            "estimate": result.estimate,
            "se": result.se,
            "z": z,
            "p": 2 * stats.norm.sf(np.abs(z)),
            "ci_low": result.estimate - reach,
            "ci_high": result.estimate + reach,
            "document_variance": result.document_variance,
            "residual_variance": result.residual_variance,
            "residual_skewness": float(stats.skew(result.residual)),
            "residual_kurtosis": float(stats.kurtosis(result.residual)),
            "converged": result.converged,
        }
        | about
    )


def _fitted(texts: pd.DataFrame, metric: str, response: str) -> tuple[pd.DataFrame, str, Fit | None, str]:
    """Rows, formula, the fit (None if there is none) and what there is to say about it."""
    there = texts[metric].notna() & (texts["tokens"] > 0)
    rows = texts.loc[there, [*OF_A_TEXT, metric]].copy()
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
    model = smf.ols(formula, rows)  # for its design; nothing is fitted by it
    documents = pd.factorize(rows["document"])[0]
    try:
        result = reml(np.asarray(model.exog), np.asarray(model.endog), documents, list(model.exog_names))
    except np.linalg.LinAlgError as error:
        return rows, formula, None, f"not fitted: {error}"
    return rows, formula, result, result.note


def reml(exog: np.ndarray, endog: np.ndarray, documents: np.ndarray, terms: list[str]) -> Fit:
    """The maximum of the restricted likelihood of endog = exog β + the document's intercept + noise.

    `exog` [texts, terms], `endog` [texts], `documents` [texts] numbered from 0. With fixed effects
    and scale at their best for it, the likelihood is a function of one number, the ratio of the documents'
    variance to the residual one (Lindstrom & Bates 1988), and costs a few sums per document: what
    statsmodels and lme4 find, in a time that a million texts allow. Raises numpy's LinAlgError if the terms
    cannot be told apart, or explain all there is.
    """
    texts, count = exog.shape
    if np.linalg.matrix_rank(exog) < count:
        raise np.linalg.LinAlgError("the terms cannot be told apart on these texts")
    columns = np.column_stack([exog, endog])
    sizes = np.bincount(documents).astype(float)
    sums = np.zeros((len(sizes), count + 1))
    np.add.at(sums, documents, columns)
    products = columns.T @ columns

    def at(ratio: float) -> tuple[np.ndarray, np.ndarray, float]:
        """XᵀV⁻¹X, the fixed effects, and the residual sum of squares, all for that ratio."""
        weighted = products - (sums * (ratio / (1 + sizes * ratio))[:, None]).T @ sums
        within, cross, total = weighted[:-1, :-1], weighted[:-1, -1], weighted[-1, -1]
        effects = np.linalg.solve(within, cross)
        return within, effects, float(total - cross @ effects)

    def deviance(log_ratio: float) -> float:
        """−2 × the log-likelihood, but for a constant."""
        within, _, left = at(np.exp(log_ratio))
        of_sizes = np.log1p(sizes * np.exp(log_ratio)).sum()
        return (texts - count) * np.log(left) + of_sizes + np.linalg.slogdet(within)[1]

    if at(0.0)[2] <= np.finfo(float).eps * products[-1, -1]:
        raise np.linalg.LinAlgError("nothing varies that the terms do not explain")
    best = optimize.minimize_scalar(deviance, bounds=LOG_RATIOS, method="bounded", options={"xatol": 1e-8}).x
    none = best < LOG_RATIOS[0] + AT_THE_EDGE
    ratio = 0.0 if none else float(np.exp(best))
    within, effects, left = at(ratio)
    scale = left / (texts - count)
    apart = endog - exog @ effects
    intercepts = ratio / (1 + sizes * ratio) * np.bincount(documents, apart)
    fitted = exog @ effects + intercepts[documents]
    return Fit(
        terms=terms,
        estimate=effects,
        se=np.sqrt(scale * np.diag(np.linalg.inv(within))),
        document_variance=ratio * scale,
        residual_variance=scale,
        fitted=fitted,
        residual=endog - fitted,
        converged=best < LOG_RATIOS[1] - AT_THE_EDGE,
        note="the variance between documents is on the boundary, at 0" if none else "",
    )


def _readable(term: str) -> str:
    """ "class[rlhf]" for patsy's "text_class[T.rlhf]"."""
    return term.replace("text_class", "class").replace("[T.", "[").replace("log_tokens", "log2(tokens)")
