"""Step 04 on made-up metrics: every number is SciPy's or statsmodels', and nothing is dropped unsaid."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import statsmodels.formula.api as smf
import yaml
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind

from lib import paths, store
from lib.compare import bootstrap, mixed, tables
from lib.compare import comparison as compare
from lib.errors import StudyError
from lib.params import Comparison, Study, load_study
from lib.reports import notebook

METRICS = ("tokens", "mean_surprisal", "uid_variance", "uid_pairwise")


def made_up(n: int = 40, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    document = np.random.default_rng(99).normal(size=n)
    variance = 10 + document + shift + scale * rng.normal(size=n)
    return pd.DataFrame(
        {
            "doc_id": [f"d{i}" for i in range(n)],
            "tokens": rng.integers(80, 400, n),
            "mean_surprisal": 4 + 0.3 * document + 0.3 * rng.normal(size=n),
            "uid_variance": variance,
            "uid_pairwise": 2 * variance + rng.normal(size=n),
        }
    )


@pytest.fixture
def measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, pd.DataFrame]]:
    """Writes step 03's files of the demo study; keyword arguments replace a source's rows."""
    monkeypatch.setattr(bootstrap, "DRAWS", 200)
    demo = yaml.safe_load(paths.study_file("demo").read_text())
    demo["comparisons"] = {"all": {"sources": demo["sources"]}}
    del demo["hypotheses"]
    paths.study_file("demo").write_text(yaml.safe_dump(demo))
    schema = pa.schema([("doc_id", pa.string()), *((m, pa.float64()) for m in METRICS)])

    def write(**changed: pd.DataFrame) -> dict[str, pd.DataFrame]:
        rows = {
            "human": made_up(seed=1),
            "tiny-base": made_up(seed=2, shift=0.5),
            "tiny-instruct": made_up(seed=3, scale=2),
            "tiny-rlhf": made_up(seed=4, shift=-2).iloc[:35],
        }
        rows |= {name.replace("_", "-"): table for name, table in changed.items()}
        for source, table in rows.items():
            made = store.record("03_uid", parameters={}, inputs={}, packages=(), units={})
            store.write(paths.uid("tiny-scorer", "pydocs", source), table, schema, made)
        return rows

    return write


def row(tests: pd.DataFrame, metric: str, a: str, b: str, test: str) -> pd.Series:
    found = tests.query("metric == @metric and group_a == @a and group_b == @b and test == @test")
    assert len(found) == 1
    return found.iloc[0]


def test_every_number_is_a_direct_call(measured):
    rows = measured()
    tests = compare.compare({}).tests
    for metric in METRICS:
        a = rows["human"][metric].to_numpy(float)
        b = rows["tiny-rlhf"][metric].to_numpy(float)
        difference = a[:35] - b
        direct = {
            "mann_whitney_u": stats.mannwhitneyu(a, b),
            "welch_t": stats.ttest_ind(a, b, equal_var=False),
            "student_t": stats.ttest_ind(a, b),
            "brown_forsythe": stats.levene(a, b, center="median"),
            "kolmogorov_smirnov": stats.ks_2samp(a, b),
            "wilcoxon_signed_rank": stats.wilcoxon(difference),
        }
        for test, expected in direct.items():
            found = row(tests, metric, "human", "tiny-rlhf", test)
            p = np.nan if test == "student_t" else expected.pvalue  # that one is description
            assert (found["statistic"], found["p"]) == pytest.approx((expected.statistic, p), nan_ok=True)
        assert row(tests, metric, "human", "tiny-rlhf", "wilcoxon_signed_rank")["n_a"] == 35
        assert row(tests, metric, "human", "tiny-rlhf", "welch_t")[["n_a", "n_b"]].tolist() == [40, 35]
        unit = np.sqrt((39 * a.var(ddof=1) + 34 * b.var(ddof=1)) / 73)
        found = row(tests, metric, "human", "tiny-rlhf", "tost_level")
        expected = ttost_ind(a, b, -0.3 * unit, 0.3 * unit, usevar="unequal")[0]
        assert found["p"] == pytest.approx(expected)
        inside = found["ci_low"] > -0.3 and found["ci_high"] < 0.3
        assert inside == (found["p"] < 0.05)
    equivalence = tests["test"].str.startswith("tost_")
    for family in (equivalence, ~equivalence & (tests["test"] != "student_t")):
        some = tests[family]
        for column, method in (("p_adjusted", "holm"), ("p_adjusted_bh", "fdr_bh")):
            expected = multipletests(some["p"], method=method)[1]
            assert some[column].tolist() == pytest.approx(expected.tolist())
    assert len(tests) == len(METRICS) * 6 * 8


def test_effects_are_signed(measured):
    measured()
    tests = compare.compare({}).tests
    for test in ("mann_whitney_u", "welch_t", "wilcoxon_signed_rank"):
        assert row(tests, "uid_variance", "human", "tiny-rlhf", test)["effect"] > 0.5
        assert row(tests, "uid_variance", "human", "tiny-base", test)["effect"] < 0
    assert row(tests, "uid_variance", "human", "tiny-instruct", "brown_forsythe")["effect"] < 1
    bounded = tests.dropna(subset=["ci_low"])
    assert (bounded["ci_low"] <= bounded["effect"]).all()
    assert (bounded["effect"] <= bounded["ci_high"]).all()
    assert set(bounded["effect_name"]) == {*compare.WEIGHTED, "cohens_d"}


def test_summary_counts_what_is_missing(measured, project):
    human = made_up(seed=1)
    human.loc[:2, "uid_variance"] = np.nan
    measured(human=human)
    texts = pa.table({"doc_id": [f"d{i}" for i in range(43)], "status": ["error"] * 3 + ["ok"] * 40})
    path = paths.texts("pydocs", "human")
    path.parent.mkdir(parents=True)
    pq.write_table(texts, path)
    compared = compare.compare({})
    found = compared.summary.query("group == 'human' and metric == 'uid_variance'").iloc[0]
    assert found[["texts", "failed", "n", "missing"]].tolist() == [43, 3, 37, 6]
    values = human["uid_variance"].dropna()
    assert found[["mean", "median", "std", "min", "q25", "q75", "max"]].tolist() == pytest.approx(
        [*values.agg(["mean", "median", "std", "min"]), *values.quantile([0.25, 0.75]), values.max()]
    )
    assert row(compared.tests, "uid_variance", "human", "tiny-base", "welch_t")["n_a"] == 37


def test_nothing_is_done_twice_and_a_change_is_noticed(measured):
    measured()
    assert compare.compare({}).computed_now
    path = paths.comparison("demo", "all", "tests")
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert not compare.compare({}).computed_now
    assert path.stat().st_mtime_ns == before[0]
    for table in ("tests", "summary", "models"):
        paths.comparison("demo", "all", table).unlink()
    compare.compare({})
    assert path.read_bytes() == before[1]
    measured(tiny_base=made_up(seed=8))
    assert compare.compare({}).computed_now


def test_order_of_rows_does_not_matter(measured):
    rows = measured()
    first = compare.compare({}).tests
    measured(human=rows["human"].iloc[::-1])
    pd.testing.assert_frame_equal(compare.compare({}).tests, first, rtol=1e-4)


def test_what_does_not_vary_has_no_p(measured):
    flat = {name: made_up(seed=i).assign(tokens=50) for i, name in enumerate(("human", "tiny_base"))}
    measured(**flat)
    tests = compare.compare({}).tests
    found = row(tests, "tokens", "human", "tiny-base", "welch_t")
    assert np.isnan(found[["p", "p_adjusted", "ci_low"]].astype(float)).all()
    assert tests.loc[tests["p"].notna(), "p_adjusted"].notna().all()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"comparison": "al"}, "did you mean 'all'"),
        ({"study": "dmo"}, "did you mean 'demo'"),
        ({"dataset": "pydoc"}, "did you mean 'pydocs'"),
        ({"scorer": "tiny-scorr"}, "did you mean 'tiny-scorer'"),
    ],
)
def test_unknown_names(measured, given, sentence):
    measured()
    with pytest.raises(StudyError, match=sentence):
        compare.compare(given)


def test_missing_and_small_groups(measured, project):
    measured(tiny_rlhf=made_up().iloc[:2])
    with pytest.raises(StudyError, match=r"'tiny-rlhf' has 2 measured texts"):
        compare.compare({})
    paths.uid("tiny-scorer", "pydocs", "tiny-base").unlink()
    with pytest.raises(StudyError, match=r"03_uid.*tiny-base"):
        compare.compare({})
    assert not paths.comparison("demo", "all", "tests").exists()


def test_comparisons_by_declaration(project):
    study = load_study("demo")

    def groups(**declared) -> dict[str, tuple[str, ...]]:
        return study.model_copy(update={"comparisons": {"x": Comparison(**declared)}}).groups_of("x")

    assert list(groups(against="human")) == list(study.sources)
    assert list(groups(classes=("base", "rlhf"))) == ["tiny-base", "tiny-rlhf"]
    assert groups(families=("tiny", "human"), pooled=True, against="human") == {
        "human": ("human",),
        "tiny": ("tiny-base", "tiny-instruct", "tiny-rlhf"),
    }
    assert Comparison(against="human").pairs(groups()) == [("human", s) for s in study.sources[1:]]
    assert len(Comparison().pairs(groups())) == 6
    with pytest.raises(StudyError, match="needs two groups"):
        groups(families=("tiny",), pooled=True)
    with pytest.raises(StudyError, match="no group 'humn'"):
        groups(against="humn")
    with pytest.raises(ValueError, match="one of the three"):
        Comparison(sources=("a", "b"), classes=("base",))
    assert isinstance(study, Study)


def test_pooled_groups_compare_all_their_texts(measured, project):
    rows = measured()
    file = paths.study_file("demo")
    file.write_text(
        file.read_text().replace(
            "comparisons:\n",
            "comparisons:\n  people: {families: [human, tiny], pooled: true, metrics: [tokens]}\n",
        )
    )
    compared = compare.compare({"comparison": "people"})
    pooled = np.concatenate([rows[s]["tokens"] for s in ("tiny-base", "tiny-instruct", "tiny-rlhf")])
    found = row(compared.tests, "tokens", "human", "tiny", "mann_whitney_u")
    assert found["p"] == pytest.approx(stats.mannwhitneyu(rows["human"]["tokens"], pooled).pvalue)
    assert found["n_b"] == 115
    assert set(compared.tests["metric"]) == {"tokens"}


def test_a_model_is_compared_with_people_without_a_declaration(measured, project):
    measured()
    study = paths.study_file("demo")
    study.write_text(study.read_text().replace(", tiny-instruct", ""))  # as one's own model may be in none
    compared = compare.compare({"model": "tiny-instruct"})
    assert compared.name == "human-vs-tiny-instruct"
    assert list(compared.groups) == ["human", "tiny-instruct"]
    assert paths.comparison("demo", "human-vs-tiny-instruct", "tests").exists()
    for given, sentence in (
        ({"model": "human"}, "'human' stands for people"),
        ({"model": "tiny-instrct"}, "did you mean 'tiny-instruct'"),
        ({"model": "tiny-base", "comparison": "all"}, "not both"),
    ):
        with pytest.raises(StudyError, match=sentence):
            compare.compare(given)


def test_a_comparison_is_about_its_scorer(measured, project):
    rows = measured()
    study = yaml.safe_load(paths.study_file("demo").read_text())
    study["comparisons"]["other"] = {"scorer": "tiny-base", "metrics": ["uid_variance"]}
    paths.study_file("demo").write_text(yaml.safe_dump(study, sort_keys=False))
    with pytest.raises(StudyError, match=r"uid/tiny-base.*03_uid.*-p scorer tiny-base"):
        compare.compare({"comparison": "other"})
    for source in rows:
        table = pq.read_table(paths.uid("tiny-scorer", "pydocs", source)).to_pandas()
        made = store.record("03_uid", parameters={}, inputs={}, packages=(), units={})
        schema = pq.read_schema(paths.uid("tiny-scorer", "pydocs", source))
        changed = table.assign(uid_variance=table["uid_variance"] + (source == "human"))
        store.write(paths.uid("tiny-base", "pydocs", source), changed, schema, made)
    by_first, by_other = (compare.compare({"comparison": name}) for name in ("all", "other"))
    assert (by_first.scorer, by_other.scorer) == ("tiny-scorer", "tiny-base")
    assert "surprisal by **tiny-base**" in by_other.about
    levels = [
        row(found.tests, "uid_variance", "human", "tiny-base", "mann_whitney_u")["effect"]
        for found in (by_first, by_other)
    ]
    assert levels[1] > levels[0]


def test_a_mixed_model_is_what_statsmodels_finds():
    rng = np.random.default_rng(1)
    tables = []
    for place, text_class in enumerate(("human", "base", "rlhf")):
        table = made_up(60, shift=place, seed=place)
        tables.append(table.assign(text_class=text_class, source=text_class, group=text_class, dataset="d"))
    texts = pd.concat(tables, ignore_index=True)
    found = mixed.fit_models(texts, ["uid_variance"])
    rows = found.query("response == 'level' and sample == 'all'").set_index("term")
    texts["log_tokens"] = np.log2(texts["tokens"])
    usual = smf.mixedlm(
        "uid_variance ~ C(text_class, levels=['human', 'base', 'rlhf']) + log_tokens", texts, groups="doc_id"
    ).fit(reml=True)
    assert rows["converged"].all()
    assert rows["estimate"].tolist() == pytest.approx(usual.fe_params.tolist(), rel=1e-4)
    # Given the variances, as lme4 has them; statsmodels adds that these are estimated, too.
    same = np.equal.outer(texts["doc_id"].to_numpy(), texts["doc_id"].to_numpy())
    covariance = usual.cov_re.iloc[0, 0] * same + usual.scale * np.eye(len(texts))
    exact = np.linalg.inv(usual.model.exog.T @ np.linalg.solve(covariance, usual.model.exog))
    assert rows["se"].tolist() == pytest.approx(np.sqrt(np.diag(exact)).tolist(), rel=1e-4)
    assert rows["se"].tolist() == pytest.approx(usual.bse_fe.tolist(), rel=0.01)
    assert rows["document_variance"].iloc[0] == pytest.approx(usual.cov_re.iloc[0, 0], rel=1e-3)

    # Without a variance between documents the maximum is at the edge, which is said.
    texts["uid_variance"] = rng.normal(size=len(texts))
    texts["uid_variance"] -= texts.groupby("doc_id")["uid_variance"].transform("mean")
    edge = mixed.fit_models(texts, ["uid_variance"]).query("response == 'level' and sample == 'all'")
    assert edge["document_variance"].iloc[0] == pytest.approx(0, abs=1e-4)
    assert "boundary" in edge["note"].iloc[0]


def test_a_mixed_model_that_cannot_be_fitted_says_why():
    exog = np.column_stack([np.ones(40), np.arange(40.0)])
    documents = np.arange(40) // 2
    with pytest.raises(np.linalg.LinAlgError, match="cannot be told apart"):
        mixed.reml(exog[:, [0, 1, 1]], exog[:, 1], documents, ["a", "b", "c"])
    with pytest.raises(np.linalg.LinAlgError, match="nothing varies"):
        mixed.reml(exog, 2 * exog[:, 1], documents, ["a", "b"])
    # All of the variance is the documents'.
    alike = mixed.reml(exog[:, :1], np.random.default_rng(0).normal(size=20)[documents], documents, ["a"])
    assert not alike.converged


def test_tables_for_the_notebook(measured):
    measured()
    compared = compare.compare({})
    assert tables.summary_table(compared)["texts"].tolist() == [40, 40, 40, 35]
    assert tables.summary_table(compared)["measured"].tolist() == [40, 40, 40, 35]
    for table in (tables.level_table, tables.paired_table, tables.spread_table):
        assert len(table(compared.tests)) == 18
    assert "< 0.001" in notebook.table(tables.level_table(compared.tests)).data
    assert len(tables.equivalence_table(compared.tests)) == 36
    assert tables.original_table(compared.summary).columns.tolist() == [
        "source", "n", "metric", "mean", "median", "std", "min", "max",
    ]  # fmt: skip
    assert "class[rlhf]" in set(tables.model_table(compared.models)["term"])
