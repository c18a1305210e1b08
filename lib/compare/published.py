"""What the original study published, beside the same figures from its data: their way, and ours.

The published figures (`original/`) are those of its comparison `all_models`. "Their way" is their metrics
(`uid_metrics.csv`) summed up as they did: Cohen's d without a sign, of all texts, and Mann–Whitney's p
without correction. "Ours" is this project's metrics of the imported texts, and Cohen's d with its sign.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from lib import paths, store
from lib.compare import effects
from lib.compare.comparison import Comparison
from lib.compare.tables import probability
from lib.datasets import repository
from lib.params import load_source, load_study

ORIGINAL = Path(__file__).with_name("original")
METRICS = ("tokens", "mean_surprisal", "uid_variance", "uid_pairwise")
STATISTICS = ("mean", "median", "std", "min", "max")
CUT_AT = 1023  # tokens that have a surprisal in a text that was cut at 1,024
DIGITS = 5e-5  # half a unit of the last published digit


def tables(compared: Comparison) -> list[tuple[pd.DataFrame, str]]:
    """Tables with captions: the published summary and effects beside both computations, why they differ,
    and what the repository lacks.

    The last alone for a comparison of other sources than the published; none for a study that imports
    nothing.
    """
    study = load_study(compared.study)
    if study.imported is None:
        return []
    lacking = repository.lacking(compared.study, study), "What the imported repository lacks, or is left out"
    if not covers(compared.classes):
        return [lacking]
    published = pd.read_csv(ORIGINAL / "summary.csv")
    names = {source: _folder(source) for source in compared.classes}
    dataset = study.imported.older or study.datasets[0]
    ours = compared.texts[compared.texts["dataset"] == dataset]
    ours = ours.assign(source=ours["source"].map(names))
    theirs = {
        folder: repository.read_metrics(
            repository.place_of(compared.study, study, dataset, source, load_source(source))
        )
        for source, folder in names.items()
    }
    stored = pd.concat([rows.assign(source=folder) for folder, rows in theirs.items()], ignore_index=True)
    stored = stored.reindex(columns=["source", *METRICS])
    return [
        (
            summary(published, stored, ours),
            "The original's summary: published, as they computed it, as here",
        ),
        (
            _readable(effect_sizes(stored, ours)),
            "The original's effects: published, as they computed it, and as here",
        ),
        (reasons(dataset, names, published, stored, ours), "Why figures differ"),
        lacking,
    ]


def covers(sources: Iterable[str]) -> bool:
    """Whether figures of all these sources are published."""
    return set(map(_folder, sources)) <= set(pd.read_csv(ORIGINAL / "summary.csv")["source"])


def summary(published: pd.DataFrame, theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """A row per source, metric and statistic; `theirs` and `ours` have `source` and the metrics per text."""
    rows = []
    for row in published[published["source"].isin(ours["source"])].to_dict("records"):
        metric = row["metric"]
        values = [table.loc[table["source"] == row["source"], metric].dropna() for table in (theirs, ours)]
        for statistic in STATISTICS:
            found = [each.agg(statistic) if len(each) else np.nan for each in values]
            rows.append((row["source"], metric, statistic, row[statistic], *found))
    columns = ["source", "metric", "statistic", "published", "as they computed it", "as we compute it"]
    return pd.DataFrame(rows, columns=columns)


def effect_sizes(theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """A row per published metric and pair: |d| and p published and their way, d with its sign and p here."""
    published = pd.read_csv(ORIGINAL / "effect_sizes.csv")
    rows = []
    for row in published.to_dict("records"):
        pair = row["group_a"], row["group_b"]
        if not set(pair) <= set(ours["source"]):
            continue
        stored, here = (_values(table, row["metric"], pair) for table in (theirs, ours))
        rows.append(
            {
                "metric": row["metric"],
                "first": pair[0],
                "second": pair[1],
                "|d|, published": row["cohens_d"],
                "|d|, their way": abs(effects.cohens_d(*stored)) if stored else np.nan,
                "d, ours": effects.cohens_d(*here) if here else np.nan,
                "p, published": row["mannwhitney_p"],
                "p, their way": stats.mannwhitneyu(*stored).pvalue if stored else np.nan,
                "p, ours": stats.mannwhitneyu(*here).pvalue if here else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _readable(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with probabilities as other tables have them, and a pair in one column: narrower."""
    named = [column for column in rows if column.startswith("p, ")]
    shown = rows.assign(**{column: rows[column].map(probability) for column in named})
    shown.insert(1, "pair", rows["first"] + " and " + rows["second"])
    return shown.drop(columns=["first", "second"])


def reasons(
    dataset: str,
    names: dict[str, str],
    published: pd.DataFrame,
    theirs: pd.DataFrame,
    ours: pd.DataFrame,
) -> pd.DataFrame:
    """What is known of the differences, per source: texts, those left out and those that were cut."""
    again = summary(published, theirs, ours)
    rows = []
    for source, folder in names.items():
        mine = again[again["source"] == folder]
        apart = (mine["published"] - mine["as they computed it"]).abs()
        texts = store.read(paths.texts(dataset, source), "make study", ["status", "error"])
        failed = texts.loc[texts["status"] == "error", "error"].fillna("")
        tokens = ours.loc[ours["source"] == folder, "tokens"]
        flagged = int(failed.str.contains("generator's own").sum())
        rows.append(
            {
                "source": folder,
                "texts, published": int(published.loc[published["source"] == folder, "n"].iloc[0]),
                "texts in their metrics": int((theirs["source"] == folder).sum()),
                "texts here": len(tokens),
                "left out: the generator's warning in them": flagged,
                "left out: no surprisals, or not readable": len(texts) - flagged - len(tokens),
                "cut at 1,024 tokens": int((tokens >= CUT_AT).sum()),
                "their metrics give what they published": _agrees(apart),
            }
        )
    return pd.DataFrame(rows)


def _agrees(apart: pd.Series) -> str:
    if apart.isna().all():
        return "their metrics are not in the repository"
    return "yes" if apart.max() <= 1.01 * DIGITS else f"no, up to {apart.max():.4g} apart"


def _values(table: pd.DataFrame, metric: str, pair: Sequence[str]) -> list[np.ndarray]:
    """The values of both sources; empty if one has fewer than two."""
    found = [table.loc[table["source"] == name, metric].dropna().to_numpy(float) for name in pair]
    return found if min(map(len, found)) > 1 else []


def _folder(source: str) -> str:
    """How the original calls a source."""
    return "human_texts" if load_source(source).text_class == "human" else source
