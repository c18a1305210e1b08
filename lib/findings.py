"""What the paper says: every number and every "more", "less" or "no difference" from a study's files."""

from dataclasses import dataclass

import pandas as pd

from lib import paths, store
from lib.figures.theme import label
from lib.params import Study, load_dataset, load_scorer, load_source, load_study

ALPHA = 0.05
MADE_BY = "make study"


@dataclass(frozen=True)
class Findings:
    """The tables of one comparison of a study, and the sentences that follow from them."""

    study: Study
    comparison: str
    summary: pd.DataFrame
    tests: pd.DataFrame
    models: pd.DataFrame
    counts: pd.DataFrame  # per source: texts, short, error

    @property
    def sources(self) -> tuple[str, ...]:
        return self.study.sources_of(self.comparison)

    @property
    def texts(self) -> int:
        return int(self.counts["texts"].sum())

    @property
    def alpha(self) -> str:
        return f"{ALPHA:g}"

    def of_class(self, text_class: str) -> str:
        """The first source of a class, such as "rlhf". Raises StopIteration if there is none."""
        return next(source for source in self.sources if load_source(source).text_class == text_class)

    def mean(self, source: str, metric: str) -> str:
        """Mean ± standard deviation over the texts of `source`."""
        rows = self.summary[(self.summary["group"] == source) & (self.summary["metric"] == metric)]
        return f"{_pooled(rows, 'mean'):.2f} ± {_pooled(rows, 'std'):.2f}"

    def level(self, metric: str, first: str, second: str) -> str:
        """A sentence: whether `first` has more or less of `metric` than `second`, and how much."""
        row, sign = self._row("mann_whitney_u", metric, first, second)
        effect, low, high = sorted_interval(sign * row.effect, sign * row.ci_low, sign * row.ci_high)
        numbers = (
            f"Cliff's delta {effect:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, {_p(row.p_adjusted)}"
        )
        return f"The {label(metric)} of {first} {self._direction(row, effect)} that of {second} ({numbers})."

    def spread(self, metric: str, first: str, second: str) -> str:
        """A sentence: whether texts of `first` differ more or less in `metric` than those of `second`."""
        row, sign = self._row("brown_forsythe", metric, first, second)
        effect, low, high = sorted_interval(row.effect**sign, row.ci_low**sign, row.ci_high**sign)
        numbers = (
            f"ratio of variances {effect:.2f}, 95 % interval {low:.2f} to {high:.2f}, {_p(row.p_adjusted)}"
        )
        if row.p_adjusted >= ALPHA:
            return f"In {label(metric)}, the texts of {first} and {second} differ among themselves alike ({numbers})."
        more = "more" if effect > 1 else "less"
        return f"In {label(metric)}, the texts of {first} differ {more} among themselves than those of {second} ({numbers})."

    def at_equal_length(self, metric: str, source: str) -> str:
        """A sentence from the mixed-effects model: `source` against its reference, length held constant."""
        rows = self.models[(self.models["metric"] == metric) & (self.models["term"] == f"source: {source}")]
        row = rows.iloc[0]
        converged = "" if row["converged"] else " The fit did not converge, so this is no evidence."
        numbers = f"{row['estimate']:+.2f}, 95 % interval {row['ci_low']:+.2f} to {row['ci_high']:+.2f}"
        clear = row["ci_low"] > 0 or row["ci_high"] < 0
        verdict = ("higher" if row["estimate"] > 0 else "lower") if clear else "not clearly different"
        return (
            f"With the length of the texts held constant, the {label(metric)} of {source} is {verdict} than "
            f"that of {self.sources[0]} ({numbers}).{converged}"
        ).replace("different than", "different from")

    def significant(self) -> str:
        """How many of the comparison's tests stand after the correction."""
        return f"{int((self.tests['p_adjusted'] < ALPHA).sum())} of {len(self.tests)}"

    def unusual(self) -> str:
        """A sentence about texts that are not as they should be."""
        short, failed = int(self.counts["short"].sum()), int(self.counts["error"].sum())
        return (
            f"{short} of the {self.texts} texts stayed shorter than asked for after all retries and are "
            f"kept; {failed} could not be made and are left out."
        )

    def _row(self, test: str, metric: str, first: str, second: str) -> tuple[pd.Series, int]:
        """The row of a pair in either order; −1 if it stands the other way round."""
        rows = self.tests[(self.tests["test"] == test) & (self.tests["metric"] == metric)]
        for a, b, sign in ((first, second, 1), (second, first, -1)):
            found = rows[(rows["group_a"] == a) & (rows["group_b"] == b)]
            if len(found):
                return found.iloc[0], sign
        raise KeyError(f"no {test} of {metric} between {first} and {second}")

    def _direction(self, row: pd.Series, effect: float) -> str:
        if row.p_adjusted >= ALPHA:
            return "is not shown to differ from"
        return "is higher than" if effect > 0 else "is lower than"


def findings(study: str = "demo", comparison: str = "all") -> Findings:
    """The findings of a comparison. Raises StudyError if the study has not been run."""
    declared = load_study(study)
    tables = {
        name: store.read(paths.comparison(comparison, name), MADE_BY)
        for name in ("summary", "tests", "models")
    }
    counts = []
    for source in declared.sources_of(comparison):
        for dataset in declared.datasets:
            status = store.read(paths.texts(dataset, source), MADE_BY, ["status"])["status"]
            counts.append(
                {
                    "source": source,
                    "texts": len(status),
                    "short": int((status == "short").sum()),
                    "error": int((status == "error").sum()),
                }
            )
    return Findings(declared, comparison, counts=pd.DataFrame(counts), **tables)


def describe(study: str) -> str:
    """The sources, datasets and scorers of a study, in a sentence."""
    declared = load_study(study)
    sources = ", ".join(f"{name} ({load_source(name).text_class})" for name in declared.sources)
    datasets = ", ".join(f"{name} ({load_dataset(name).kind})" for name in declared.datasets)
    contexts = {load_scorer(name).scoring.context for name in declared.scorers}
    return (
        f"The sources are {sources}; the dataset is {datasets}; the scorer is {', '.join(declared.scorers)}, "
        f"with {' and '.join('the prompt' if c == 'prompt' else 'nothing' for c in sorted(contexts))} as context."
    )


def sorted_interval(effect: float, one: float, other: float) -> tuple[float, float, float]:
    return effect, min(one, other), max(one, other)


def _pooled(rows: pd.DataFrame, column: str) -> float:
    return float((rows[column] * rows["n"]).sum() / rows["n"].sum())


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
