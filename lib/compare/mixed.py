"""Mixed-effects models: a metric by class and dataset, with the length of a text held constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import statsmodels.formula.api as smf
from scipy import optimize, stats

from lib.compare.measured import documents_of

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
OF_A_TEXT = ["source", "group", "text_class", "dataset", "tokens"]
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
    texts = _numbered(texts, metrics)
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
    rows = texts.loc[texts["tokens"] > 0, ["dataset", "tokens", "text_class", "group"]]
    bins = np.floor(np.log2(rows["tokens"].to_numpy(float)) * BINS_PER_DOUBLING)
    cells = pd.DataFrame({"bin": rows.groupby(["dataset", bins]).ngroup(), "kind": rows[_factor(rows)]})
    fewest = cells.groupby(["bin", "kind"]).size().unstack(fill_value=0).min(axis=1)
    shuffled = cells.sample(frac=1, random_state=seed)
    number = shuffled.groupby(["bin", "kind"]).cumcount()
    return texts.loc[np.sort(shuffled.index[number < shuffled["bin"].map(fewest)])]


def residuals(texts: pd.DataFrame, metric: str, response: str = "level") -> pd.DataFrame:
    """Of the model on all texts: `source`, `text_class`, `fitted`, `residual`, in the metric's unit."""
    rows = _rows(_numbered(texts, [metric]), metric)
    _, result, _ = _fitted(rows, metric, response)
    if result is None:
        return pd.DataFrame({"source": [], "text_class": [], "fitted": [], "residual": []})
    kept = rows[["source", "text_class"]].reset_index(drop=True)
    return kept.assign(fitted=result.fitted, residual=result.residual)


def _numbered(texts: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """`texts` with the number of each one's document in place of its name."""
    return texts[[*OF_A_TEXT, *metrics]].assign(document=documents_of(texts)[0])


def _rows(texts: pd.DataFrame, metric: str) -> pd.DataFrame:
    return texts.loc[texts[metric].notna() & (texts["tokens"] > 0), [*OF_A_TEXT, "document", metric]]


def _factor(texts: pd.DataFrame) -> str:
    return "text_class" if texts["text_class"].nunique() > 1 else "group"


def _fit(texts: pd.DataFrame, metric: str, response: str) -> pd.DataFrame:
    rows = _rows(texts, metric)
    formula, result, note = _fitted(rows, metric, response)
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


def _fitted(rows: pd.DataFrame, metric: str, response: str) -> tuple[str, Fit | None, str]:
    """The formula, the fit (None if there is none) and what there is to say about it."""
    by = _factor(rows)
    factors = [by, "dataset"] if rows["dataset"].nunique() > 1 else [by]
    formula = f"response ~ {' * '.join(factors)} + log_tokens"
    levels = rows[by].nunique()
    if len(rows) < FEWEST or levels < 2:
        return formula, None, f"not fitted: {len(rows)} texts of {levels} groups"
    values = rows[metric].to_numpy(float)
    if response == "spread":
        values = np.abs(values - rows.groupby([by, "dataset"])[metric].transform("median").to_numpy(float))
    exog, terms = _design(rows, factors)
    try:
        result = reml(exog, values, pd.factorize(rows["document"])[0], terms)
    except np.linalg.LinAlgError as error:
        return formula, None, f"not fitted: {error}"
    return formula, result, result.note


def _design(rows: pd.DataFrame, factors: list[str]) -> tuple[np.ndarray, list[str]]:
    """The fixed effects of each text [texts, terms], and what they are called.

    Contrasts are made once for each combination of `factors`, people first.
    """
    cells = rows.groupby(factors, sort=True)
    made = cells.size().reset_index().astype(dict.fromkeys(factors, str))
    levels = sorted(made[factors[0]].unique(), key=lambda level: (level != "human", level))
    made[factors[0]] = pd.Categorical(made[factors[0]], categories=levels)
    # For its design; nothing is fitted by it.
    model = smf.ols(f"number ~ {' * '.join(factors)}", made.assign(number=0.0))
    exog = np.empty((len(rows), len(model.exog_names) + 1))
    np.take(np.asarray(model.exog), cells.ngroup().to_numpy(), axis=0, out=exog[:, :-1], mode="clip")
    np.log2(rows["tokens"].to_numpy(float), out=exog[:, -1])
    return exog, [*model.exog_names, "log_tokens"]


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
    columns = (*exog.T, endog)
    sizes = np.bincount(documents).astype(float)
    sums = np.column_stack([np.bincount(documents, column) for column in columns])
    products = np.empty((count + 1, count + 1))
    products[:-1, :-1] = exog.T @ exog
    products[-1, :-1] = products[:-1, -1] = endog @ exog
    products[-1, -1] = endog @ endog

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
