"""Step 04: how groups of texts differ in level, spread and shape.

A comparison declares groups of a study's sources (`lib.params.Comparison`). Every pair of its
groups is tested on every metric by every test of `lib.compare.tests_between`. All of it is
**exploratory**: what the study claims is declared and tested apart (`lib.compare.hypotheses`). So what is
quoted is corrected after Benjamini and Hochberg, the difference tests of a comparison together and its
equivalence tests together; Holm's correction stands beside it.

Effects are signed, positive (a ratio: above 1) where `group_a` has more. Intervals are BCa at 95 %
(`lib.compare.bootstrap`); those of the two equivalence tests are Welch intervals at 90 %, which lie within
±`margin` exactly where p < 0.05 (Schuirmann 1987). Cohen's d comes with the pooled variance and
Student's t, as in the original study, as description: without p, and without an interval, which Hedges' g
has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.compare import bootstrap, mixed
from lib.compare.bootstrap import Group
from lib.compare.families import benjamini_hochberg, holm
from lib.compare.measured import documents_of, made_by, together
from lib.compare.tests_between import BY_NAME, SMALLEST_GROUP, TESTS, Pair
from lib.datasets import repository
from lib.errors import StudyError, nearest
from lib.params import load_dataset, load_scorer, load_source
from lib.params.run import resolve_comparison
from lib.progress import Bar
from lib.uid.measures import DRAWN, METRICS

TEST_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("group_a", pa.string()),
        ("group_b", pa.string()),
        ("test", pa.string()),
        ("n_a", pa.int64()),
        ("n_b", pa.int64()),
        ("statistic", pa.float64()),
        ("p", pa.float64()),  # none of a test that is description
        ("p_adjusted", pa.float64()),  # Holm, over the comparison's tests of the same family
        ("p_adjusted_bh", pa.float64()),  # Benjamini–Hochberg, over the same: the one that is quoted
        ("effect", pa.float64()),
        ("effect_name", pa.string()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("margin", pa.float64()),  # of the equivalence tests, in standard deviations
    ]
)
SUMMARY_SCHEMA = pa.schema(
    [
        ("group", pa.string()),
        ("text_class", pa.string()),
        ("dataset", pa.string()),  # ALL: every dataset together, where there are several
        ("metric", pa.string()),
        ("texts", pa.int64()),  # written, those that failed included
        ("failed", pa.int64()),
        ("n", pa.int64()),  # texts that have the metric
        ("missing", pa.int64()),  # texts − n
        *((name, pa.float64()) for name in ("mean", "median", "std", "min", "q25", "q75", "max")),
    ]
)
# The effects that have an interval by resampling, and which of them are ratios.
WEIGHTED = {test.effect: test.weighted for test in TESTS if test.weighted}
RATIOS = [test.effect for test in TESTS if test.weighted and test.turned == "inverted"]
ALL = "all"
KEYS = ["doc_id", "sample", "source", "group", "text_class", "dataset"]
SEED = 0


@dataclass(frozen=True)
class Comparison:
    """A comparison with everything it compares.

    `counts` says how many texts each source wrote; `read_texts` reads what `texts` has.
    """

    name: str
    title: str
    classes: Mapping[str, str]  # of each source
    groups: dict[str, tuple[str, ...]]
    scorer: str
    read_texts: Callable[[], pd.DataFrame]
    counts: pd.DataFrame
    summary: pd.DataFrame
    tests: pd.DataFrame
    models: pd.DataFrame
    computed_now: bool
    study: str

    @cached_property
    def texts(self) -> pd.DataFrame:
        """One row per scored text: `doc_id`, `sample`, `source`, `group`, `text_class`, `dataset`, and the
        metrics that are drawn or compared, bits where they are of surprisal.
        """
        return self.read_texts()

    @property
    def datasets(self) -> list[str]:
        return list(self.texts["dataset"].unique())

    @property
    def about(self) -> str:
        """What is compared, in a line of Markdown."""
        pairs = len(self.tests[["group_a", "group_b"]].drop_duplicates())
        return (
            f"Comparison **{self.name}** · surprisal by **{self.scorer}** · {len(self.groups)} groups in "
            f"{pairs} pairs · {int(self.tests['p'].notna().sum())} tests, exploratory"
        )


def compare(given: Mapping[str, Any]) -> Comparison:
    """Compare the groups of a comparison of a study and write `paths.comparison` of its tables.

    `given` are the checked parameters of 04_compare. Nothing is computed when the three tables are
    complete and their record unchanged. Raises StudyError for a comparison that does not exist, an
    earlier step's file that is missing or broken, or a group with too few texts.
    """
    study_name, study, name = resolve_comparison(given)
    study = repository.narrowed(study_name, study)
    groups = study.groups_of(name)
    declared = study.comparisons[name]
    datasets = (given["dataset"],) if "dataset" in given else study.datasets
    for dataset in datasets:
        load_dataset(dataset)
    scorer = given.get("scorer", study.scorer_of(name))
    load_scorer(scorer)
    group_of = {source: group for group, sources in groups.items() for source in sources}
    classes = {source: load_source(source).text_class for source in group_of}
    files = {
        (dataset, source): paths.uid(scorer, dataset, source)
        for dataset, source in repository.pairs(study_name, study)
        if dataset in datasets and source in group_of
    }

    def read(columns: list[str] | None = None) -> pd.DataFrame:
        parts = [
            store.read(file, made_by(study_name, scorer, dataset, source), columns)
            for (dataset, source), file in files.items()
        ]
        labels = [
            {"source": s, "group": group_of[s], "text_class": classes[s], "dataset": d} for d, s in files
        ]
        return together(parts, labels)

    columns = _columns(declared.metrics, name)
    texts = read(columns)
    metrics = _metrics(texts, declared.metrics)
    counts = _counts(texts, group_of)
    _check_sizes(texts, groups, name)
    made = store.record(
        "04_compare",
        parameters={
            "comparison": name,
            "groups": groups,
            "pairs": declared.pairs(groups),
            "metrics": metrics,
            "margin": declared.margin,
            "draws": bootstrap.DRAWS,
            "confidence": bootstrap.CONFIDENCE,
            "seed": SEED,
            "scorer": scorer,
            "counts": counts.to_dict("records"),
        },
        inputs={f"{dataset}/{source}": store.file_hash(file) for (dataset, source), file in files.items()},
        packages=("numpy", "scipy", "statsmodels"),
        units={
            "p": "probability",
            "p_adjusted": "probability (Holm)",
            "p_adjusted_bh": "false discovery rate (Benjamini–Hochberg)",
            "margin": "standard deviations",
        },
        code=("lib.compare.comparison", "lib.compare.bootstrap", "lib.compare.effects", "lib.compare.mixed"),
    )
    outputs = {table: paths.comparison(study_name, name, table) for table in ("summary", "tests", "models")}
    with store.lock(outputs["tests"]):
        stale = not all(store.is_complete(path, made) for path in outputs.values())
        if stale:
            tests = pairwise_tests(texts, declared.pairs(groups), metrics, declared.margin)
            store.write(outputs["summary"], summarise(texts, metrics, counts), SUMMARY_SCHEMA, made)
            store.write(outputs["models"], mixed.fit_models(texts), mixed.SCHEMA, made)
            store.write(outputs["tests"], tests, TEST_SCHEMA, made)
    about = f"-p model {given['model']}" if "model" in given else f"-p comparison {name}"
    again = f"papermill notebooks/04_compare.ipynb OUT.ipynb {about} -p study {study_name}"
    tables = {table: store.read(path, again) for table, path in outputs.items()}
    return Comparison(
        name=name,
        title=study.title,
        classes=classes,
        groups=groups,
        scorer=scorer,
        read_texts=(lambda: read(_with_drawn(columns))) if columns else lambda: texts,
        counts=counts,
        computed_now=stale,
        study=study_name,
        **tables,
    )


def _columns(chosen: Sequence[str], name: str) -> list[str] | None:
    """What the tables are made of, of the files of step 03; None: all, where no metric is `chosen`."""
    for metric in chosen:
        if metric not in METRICS:
            raise StudyError(f"Comparison {name!r} names the metric {metric!r}; {nearest(metric, METRICS)}")
    return ["doc_id", *dict.fromkeys(["tokens", *mixed.MODELLED, *chosen])] if chosen else None


def _with_drawn(columns: Sequence[str]) -> list[str]:
    """`columns` and what charts draw beside them."""
    return [*dict.fromkeys(["sample", *columns, *DRAWN])]


def _metrics(texts: pd.DataFrame, chosen: Sequence[str]) -> list[str]:
    there = [column for column in texts.columns if column not in KEYS]
    return [metric for metric in chosen or there if texts[metric].notna().any()]


def _counts(texts: pd.DataFrame, group_of: Mapping[str, str]) -> pd.DataFrame:
    """Per dataset and source: `texts` written and how many of them `failed`, from the texts themselves.

    Where step 01's file is not there any more, the scored texts are all that is known of.
    """
    rows = []
    for (dataset, source), scored in texts.groupby(["dataset", "source"], sort=False):
        path = paths.texts(dataset, source)
        status = store.read(path, "01_generate", columns=["status"])["status"] if path.exists() else None
        rows.append(
            {
                "dataset": dataset,
                "source": source,
                "group": group_of[source],
                "texts": len(scored) if status is None else len(status),
                "failed": 0 if status is None else int((status == "error").sum()),
            }
        )
    return pd.DataFrame(rows)


def _check_sizes(texts: pd.DataFrame, groups: Mapping[str, Sequence[str]], name: str) -> None:
    for group, sources in groups.items():
        count = texts.loc[texts["group"] == group, "uid_variance"].count()
        if count < SMALLEST_GROUP:
            raise StudyError(
                f"Comparison {name!r} cannot be made: {group!r} has {count} measured texts, and at least "
                f"{SMALLEST_GROUP} are needed; write more with `-p generate` for {', '.join(sources)}."
            )


def summarise(texts: pd.DataFrame, metrics: Sequence[str], counts: pd.DataFrame) -> pd.DataFrame:
    """A row of `SUMMARY_SCHEMA` per group, dataset and metric; and for all datasets where several."""
    several = texts["dataset"].nunique() > 1
    classes = texts.groupby("group", sort=False)["text_class"].agg(lambda some: "+".join(some.unique()))
    parts = []
    for keys in (["group", "dataset"], ["group"]) if several else (["group", "dataset"],):
        written = counts.groupby(keys)[["texts", "failed"]].sum()
        for metric in metrics:
            grouped = texts.groupby(keys, sort=False)[metric]
            table = grouped.agg(n="count", mean="mean", median="median", std="std", min="min", max="max")
            table = table.assign(q25=grouped.quantile(0.25), q75=grouped.quantile(0.75)).reset_index()
            table = table.astype(dict.fromkeys(keys, str)).join(written, on=keys)
            of_group = table["group"].map(classes)
            parts.append(
                table.assign(metric=metric, text_class=of_group, missing=table["texts"] - table["n"])
            )
    return pd.concat(parts, ignore_index=True).fillna({"dataset": ALL})


def pairwise_tests(
    texts: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str],
    margin: float = 0.3,
    draws: int | None = None,
) -> pd.DataFrame:
    """A row of `TEST_SCHEMA` per metric, pair and test; p-values corrected over each family of tests.

    `texts` has the columns `doc_id`, `dataset`, `group` and the metrics. A test that cannot be made
    (fewer than `SMALLEST_GROUP` texts, no document in common) has no row; one that is undefined,
    since nothing varies, has no p and is not in the family.
    """
    documents, first = documents_of(texts)
    strata = texts["dataset"].iloc[first].to_numpy(str)
    resamples = bootstrap.Resamples(strata, bootstrap.DRAWS if draws is None else draws, SEED)
    rows: list[dict[str, Any]] = []
    for metric in Bar(metrics, unit="metric", desc="comparing", disable=None):
        values = texts[metric].to_numpy(float)
        groups = {
            str(name): Group(values[index], documents[index])
            for name, members in texts.groupby("group", sort=False).indices.items()
            if len(index := members[~np.isnan(values[members])]) >= SMALLEST_GROUP
        }
        possible = [pair for pair in pairs if pair[0] in groups and pair[1] in groups]
        intervals = bootstrap.intervals(groups, possible, resamples, WEIGHTED, RATIOS)
        for a, b in possible:
            pair = Pair(groups[a], groups[b], resamples.documents, margin)
            for row in filter(None, (test.row(pair) for test in TESTS)):
                low, high = intervals[a, b].get(row["effect_name"], bootstrap.UNKNOWN)
                rows.append(
                    {"metric": metric, "group_a": a, "group_b": b, "ci_low": low, "ci_high": high} | row
                )
    return corrected(pd.DataFrame(rows, columns=[c for c in TEST_SCHEMA.names if not c.startswith("p_adj")]))


def corrected(tests: pd.DataFrame) -> pd.DataFrame:
    """`tests` with p-values corrected over each family (`lib.compare.tests_between`)."""
    families = tests["test"].map(lambda name: BY_NAME[name].family)
    tests = tests.assign(p_adjusted=np.nan, p_adjusted_bh=np.nan)
    for family in families.dropna().unique():
        mine = (families == family).to_numpy()
        p = tests.loc[mine, "p"].to_numpy(float)
        tests.loc[mine, "p_adjusted"], tests.loc[mine, "p_adjusted_bh"] = holm(p), benjamini_hochberg(p)
    return tests
