"""Hypotheses on made-up documents: every number is a direct call, and turned data turn the verdicts."""

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lib import paths, store
from lib.compare import bootstrap, hypotheses, permutation
from lib.compare.documents import Measured, strata
from lib.compare.hypotheses import ALL, answers, verdict
from lib.errors import StudyError
from lib.params import Contrast, Hypothesis, load_study
from lib.uid import measures


@pytest.fixture(autouse=True)
def fewer_permutations(monkeypatch):
    monkeypatch.setattr(permutation, "DRAWS", 4999)


def contrast(name="h", of="a", against="b", aspect="level", expect="less", margin=0.3) -> Contrast:
    sides = [{s: 1 / len(side.split("+")) for s in side.split("+")} for side in (of, against)]
    declared = Hypothesis(
        sentence=f"{of} is {expect}.",
        metric="uid_variance",
        aspect=aspect,
        of=of.split("+"),
        against=against.split("+"),
        expect=expect,
        margin=margin,
    )
    return Contrast(name, declared, *sides)


def texts(n: int = 60, seed: int = 0, samples: int = 1, **sources: tuple[float, float]) -> pd.DataFrame:
    """Two datasets; `sources` have a level and a spread."""
    rng = np.random.default_rng(seed)
    document = rng.normal(size=n)
    parts = []
    for source, (level, spread) in sources.items():
        for sample in range(samples):
            values = level + spread * (0.6 * document + 0.8 * rng.normal(size=n))
            parts.append(
                pd.DataFrame(
                    {
                        "doc_id": [f"d{i:03}" for i in range(n)],
                        "source": source,
                        "dataset": np.where(np.arange(n) < n // 3, "news", "stories"),
                        "sample": sample,
                        "uid_variance": 10 + values,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def one(rows: pd.DataFrame, name: str = "h", dataset: str = ALL) -> pd.Series:
    found = rows[(rows["hypothesis"] == name) & (rows["dataset"] == dataset)]
    assert len(found) == 1
    return found.iloc[0]


def wide(rows: pd.DataFrame, dataset: str | None = None) -> pd.DataFrame:
    """Means over samples, [documents, sources]."""
    some = rows if dataset is None else rows[rows["dataset"] == dataset]
    return some.pivot_table(index="doc_id", columns="source", values="uid_variance")


def scipys(a, b, alternative="two-sided"):
    return stats.permutation_test(
        (np.asarray(a), np.asarray(b)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples",
        alternative=alternative,
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue


def test_level_is_a_direct_call_on_document_means():
    rows = texts(n=12, a=(0.8, 1.0), c=(0.4, 1.2), b=(0, 1.0))
    found = one(answers({"s": rows}, [contrast(of="a+c", expect="more")], draws=200))
    documents = wide(rows)
    of, against = documents[["a", "c"]].mean(axis=1), documents["b"]
    assert found["estimate"] == pytest.approx((of - against).mean())
    assert found["p"] == pytest.approx(scipys(of, against))
    squares = []
    for dataset, count in (("news", 4), ("stories", 8)):
        variance = wide(rows, dataset).var(ddof=1)
        squares.append(count / 12 * ((variance["a"] + variance["c"]) / 2 + variance["b"]) / 2)
    unit = np.sqrt(sum(squares))
    assert found["unit"] == pytest.approx(unit)
    assert found["effect"] == pytest.approx((of - against).mean() / unit)
    low, high = (scipys(of + sign * 0.3 * unit, against, way) for sign, way in ((1, "greater"), (-1, "less")))
    assert found["p_equivalence"] == pytest.approx(max(low, high))
    assert found["documents"] == 12
    assert found["paired"]
    assert found["effect_name"] == "standardised_mean_difference"


def test_spread_is_a_direct_call_on_distances_from_each_sources_median():
    rows = texts(n=13, a=(3, 0.6), c=(-5, 0.5), b=(0, 1.0))
    rows["dataset"] = "news"
    found = one(answers({"s": rows}, [contrast(of="a+c", aspect="spread")], draws=200))
    documents = wide(rows)
    distances = (documents - documents.median()).abs()
    of, against = distances[["a", "c"]].mean(axis=1), distances["b"]
    assert found["estimate"] == pytest.approx((of - against).mean())
    assert found["p"] == pytest.approx(scipys(of, against))
    variance = documents.var(ddof=1)
    assert found["effect"] == pytest.approx((variance["a"] + variance["c"]) / 2 / variance["b"])
    unit = np.sqrt((of.var(ddof=1) + against.var(ddof=1)) / 2)
    assert found["unit"] == pytest.approx(unit)
    bounds = ((0.3 * unit, "greater"), (-0.3 * unit, "less"))
    assert found["p_equivalence"] == pytest.approx(max(scipys(of + d, against, way) for d, way in bounds))


def test_over_datasets_a_ratio_is_their_geometric_mean():
    rows = texts(n=60, a=(0, 0.5), b=(0, 1.0))
    found = one(answers({"s": rows}, [contrast(aspect="spread")], draws=200))
    parts = {name: wide(rows, name).var(ddof=1) for name in ("news", "stories")}
    logs = [len(wide(rows, name)) * np.log(v["a"] / v["b"]) for name, v in parts.items()]
    assert found["effect"] == pytest.approx(np.exp(sum(logs) / 60))
    rows = answers({"s": rows}, [contrast(aspect="spread")], draws=200)
    assert rows["dataset"].tolist() == ["news", "stories", ALL]
    assert rows["documents"].tolist() == [20, 40, 60]
    assert rows["family"].tolist() == ["supporting", "supporting", "confirmatory"]


def test_intervals_are_scipys_bca():
    rows = texts(n=80, a=(0.5, 0.7), b=(0, 1.0))
    rows["dataset"] = "news"
    contrasts = [contrast("level", expect="more"), contrast("spread", aspect="spread")]
    found = answers({"s": rows}, contrasts)
    documents = wide(rows)

    def level(a, b, axis=-1):
        variance = (a.var(ddof=1, axis=axis) + b.var(ddof=1, axis=axis)) / 2
        return (a.mean(axis=axis) - b.mean(axis=axis)) / np.sqrt(variance)

    def spread(a, b, axis=-1):
        return np.log(a.var(ddof=1, axis=axis) / b.var(ddof=1, axis=axis))

    # As wide as a t-interval; a variance of squares is known as another is from a seventh as many.
    for name, effect, freedom in (("level", level, 79), ("spread", spread, 79 / 7)):
        z = stats.t.ppf(0.975, freedom) * np.sqrt(80 / 79)
        pair = documents["a"].to_numpy(), documents["b"].to_numpy()
        how = {"method": "BCa", "n_resamples": 20_000, "confidence_level": 1 - 2 * stats.norm.cdf(-z)}
        oracle = stats.bootstrap(pair, effect, paired=True, rng=1, **how)
        expected = np.array(oracle.confidence_interval)
        interval = one(found, name)[["ci_low", "ci_high"]].to_numpy(float)
        interval = np.log(interval) if name == "spread" else interval
        assert interval == pytest.approx(expected, abs=0.02)


def test_groups_of_documents_give_nearly_the_same_interval(monkeypatch):
    rows = texts(n=900, a=(0.1, 0.9), b=(0, 1.0))
    whole = one(answers({"s": rows}, [contrast(aspect="spread")], draws=3000))
    monkeypatch.setattr("lib.compare.document_bootstrap.GROUPS", 150)
    grouped = one(answers({"s": rows}, [contrast(aspect="spread")], draws=3000))
    ends = ["ci_low", "ci_high"]
    assert grouped[ends].to_numpy(float) == pytest.approx(whole[ends].to_numpy(float), rel=0.03)


def test_samples_are_averaged_before_anything_else():
    rows = texts(n=30, samples=3, a=(0.4, 1), b=(0, 1))
    found = one(answers({"s": rows}, [contrast()], draws=200))
    documents = wide(rows)
    alone = documents.reset_index().melt("doc_id", value_name="uid_variance")
    alone["dataset"] = alone["doc_id"].map(rows.groupby("doc_id")["dataset"].first())
    means = one(answers({"s": alone}, [contrast()], draws=200))
    assert found[["estimate", "p", "documents"]].tolist() == means[["estimate", "p", "documents"]].tolist()
    # The unit is a standard deviation of texts, which more samples do not make smaller.
    assert found["unit"] > means["unit"]


def test_spread_of_more_samples_is_set_against_that_of_single_texts():
    """Means of ten samples vary less than single texts for that alone; their distances do not."""
    models = texts(n=400, samples=10, a=(0, 1))
    people = texts(n=400, seed=0, b=(0, 1))
    found = one(answers({"s": pd.concat([models, people])}, [contrast(aspect="spread")], draws=200))
    assert found["effect"] == pytest.approx(1, abs=0.2)
    assert found["p"] > 0.01


def test_only_documents_of_all_sources_count_and_others_are_not_paired():
    rows = texts(n=40, a=(0, 1), c=(0, 1), b=(0, 1))
    rows.loc[(rows["source"] == "c") & rows["doc_id"].isin(["d000", "d020"]), "uid_variance"] = np.nan
    assert one(answers({"s": rows}, [contrast(of="a+c")], draws=100))["documents"] == 38
    rows.loc[rows["source"] == "b", "doc_id"] += "x"
    found = one(answers({"s": rows}, [contrast()], draws=100))
    assert not found["paired"]
    assert found["documents"] == 40
    a, b = (rows.loc[rows["source"] == s, "uid_variance"].to_numpy() for s in "ab")
    assert found["effect"] == pytest.approx((a.mean() - b.mean()) / found["unit"], abs=0.05)


def test_order_of_rows_and_names_of_documents_decide_nothing():
    rows = texts(n=30, a=(0.5, 1), b=(0, 1))
    first = answers({"s": rows}, [contrast()], draws=200)
    again = answers({"s": rows.sample(frac=1, random_state=1)}, [contrast()], draws=200)
    pd.testing.assert_frame_equal(first, again)


def test_turned_data_turn_the_verdicts():
    rows = texts(n=120, a=(-1, 0.5), b=(0, 1.0))
    contrasts = [
        contrast("less"),
        contrast("more", expect="more"),
        contrast("any", expect="different"),
        contrast("spread", aspect="spread"),
        contrast("not", aspect="spread", expect="not less"),
    ]
    found = answers({"s": rows}, contrasts, draws=200)
    swapped = rows.assign(source=rows["source"].map({"a": "b", "b": "a"}))
    turned = answers({"s": swapped}, contrasts, draws=200)
    assert {name: one(found, name)["verdict"] for name in ("less", "more", "any", "spread", "not")} == {
        "less": "supported",
        "more": "reversed",
        "any": "supported",
        "spread": "supported",
        "not": "reversed",
    }
    assert {name: one(turned, name)["verdict"] for name in ("less", "more", "any", "spread", "not")} == {
        "less": "reversed",
        "more": "supported",
        "any": "supported",
        "spread": "reversed",
        "not": "supported",
    }
    a, b = one(found, "less"), one(turned, "less")
    assert a["effect"] == pytest.approx(-b["effect"])
    assert one(found, "spread")["effect"] == pytest.approx(1 / one(turned, "spread")["effect"])
    alike = answers({"s": texts(n=400, a=(0, 1), b=(0, 1))}, [contrast()], draws=200)
    assert one(alike)["verdict"] == "no difference"
    few = answers({"s": texts(n=12, a=(0, 1), b=(0.2, 1))}, [contrast()], draws=200)
    assert one(few)["verdict"] == "open"


@pytest.mark.parametrize(
    ("expect", "p", "within", "direction", "expected"),
    [
        ("less", 0.01, 0.9, -1, "supported"),
        ("less", 0.01, 0.01, 1, "reversed"),
        ("less", 0.2, 0.01, -1, "no difference"),
        ("less", 0.2, 0.2, -1, "open"),
        ("less", 0.01, 0.2, 0, "open"),  # the effect is not on the side of the tested difference
        ("different", 0.01, 0.2, 1, "supported"),
        ("not less", 0.01, 0.001, 1, "supported"),
        ("not less", 0.2, 0.2, 1, "open"),
        ("not less", 0.01, 0.001, -1, "reversed"),
        ("not more", 0.01, 0.5, 1, "reversed"),
        ("not more", 0.5, 0.01, 1, "supported"),
        ("more", np.nan, np.nan, 0, "open"),
    ],
)
def test_verdicts(expect, p, within, direction, expected):
    assert verdict(expect, p, within, direction) == expected


def test_families_are_corrected_apart():
    rows = texts(n=60, a=(0.3, 1), b=(0, 1), c=(0.2, 0.8))
    contrasts = [contrast("one"), contrast("two", of="c"), contrast("three", of="c", aspect="spread")]
    found = answers(
        {"s": rows, "t": rows.assign(uid_variance=rows["uid_variance"] ** 2)}, contrasts, draws=100
    )
    assert len(found) == 3 * 3 * 2
    for _, some in found.groupby(["scorer", "dataset"]):
        for column in ("p", "p_equivalence"):
            expected = multipletests(some[column], method="holm")[1]
            assert some[f"{column}_adjusted"].tolist() == pytest.approx(expected.tolist())
    confirmatory = found[found["family"] == "confirmatory"]
    assert set(confirmatory["scorer"]) == {"s"}
    assert set(confirmatory["dataset"]) == {ALL}


def test_what_does_not_vary_or_is_too_little_stays_open():
    rows = texts(n=20, a=(0, 1), b=(0, 1)).assign(uid_variance=3.0)
    found = one(answers({"s": rows}, [contrast()], draws=100))
    assert np.isnan(found[["p", "p_adjusted", "effect", "ci_low"]].astype(float)).all()
    assert found["verdict"] == "open"
    rows = texts(n=20, a=(0, 1), b=(0, 1))
    rows.loc[(rows["source"] == "a") & (rows["dataset"] == "news"), "uid_variance"] = np.nan
    rows = answers({"s": rows}, [contrast()], draws=100)
    assert one(rows, dataset="news")[["documents", "verdict"]].tolist() == [0, "open"]
    assert one(rows)["documents"] == 14


@pytest.fixture
def measured(project, monkeypatch):
    """Step 03's files of the demo, by both scorers; the function writes them anew."""
    monkeypatch.setattr(bootstrap, "DRAWS", 200)
    monkeypatch.setattr(permutation, "DRAWS", 999)

    def write(seed: int = 0, turned: bool = False) -> None:
        levels = {"human": 4.0, "tiny-base": 0.0, "tiny-instruct": 2.0, "tiny-rlhf": 2.0}
        sign = -1 if turned else 1
        rng = np.random.default_rng(seed)
        for scorer in ("tiny-scorer", "tiny-base"):
            for source, level in levels.items():
                table = pd.DataFrame({name: rng.normal(10, 1, 40) for name in measures.METRICS})
                table["uid_variance"] += sign * level
                table["doc_id"] = [f"d{i}" for i in range(40)]
                for name in measures.COUNTS:
                    table[name] = 50
                made = store.record("03_uid", parameters={"seed": seed}, inputs={}, packages=(), units={})
                if "sample" in measures.SCHEMA.names:
                    table["sample"] = 0
                store.write(paths.uid(scorer, "pydocs", source), table, measures.SCHEMA, made)

    write()
    return write


def test_a_study_has_its_answers_in_a_file(measured):
    found = hypotheses.answer("demo")
    contrasts = load_study("demo").contrasts()
    assert found.groupby(["hypothesis", "scorer"], sort=False).ngroups == 2 * len(contrasts)
    assert set(found["dataset"]) == {"pydocs", ALL}
    decided = found[found["family"] == "confirmatory"].set_index("hypothesis")
    for name in ("base-and-people", "instruct-and-people", "rlhf-and-base"):
        assert decided.loc[name, "verdict"] == "supported"
    # A source, or the base of one, is no independent witness; people have no relatives.
    independent = found.set_index(["scorer", "hypothesis"])["independent"]
    assert independent["tiny-scorer"].all()
    assert not independent["tiny-base"].any()
    record = store.read_record(paths.hypotheses("demo"))
    assert record["parameters"]["hypotheses"]["rlhf-and-people"]["expect"] == "less"
    before = paths.hypotheses("demo").stat().st_mtime_ns
    pd.testing.assert_frame_equal(hypotheses.answer("demo"), found)
    assert paths.hypotheses("demo").stat().st_mtime_ns == before
    measured(seed=1, turned=True)
    turned = hypotheses.answer("demo")
    turned = turned[turned["family"] == "confirmatory"].set_index("hypothesis")
    assert turned.loc["base-and-people", "verdict"] == "reversed"
    assert turned.loc["rlhf-and-base", "verdict"] == "reversed"


def test_a_study_without_hypotheses_has_none(project):
    study = yaml.safe_load(paths.study_file("demo").read_text())
    paths.study_file("demo").write_text(yaml.safe_dump(study | {"hypotheses": {}}))
    assert hypotheses.answer("demo").empty
    assert not paths.hypotheses("demo").exists()


def test_an_unknown_metric_and_a_missing_file_are_one_sentence(measured, project):
    file = paths.study_file("demo")
    text = file.read_text()
    file.write_text(text.replace("metric: uid_variance", "metric: uid_varianc", 1))
    with pytest.raises(StudyError, match=r"'base-and-people'.*'uid_varianc'.*did you mean 'uid_variance'"):
        hypotheses.answer("demo")
    file.write_text(text)
    paths.uid("tiny-base", "pydocs", "human").unlink()
    with pytest.raises(StudyError, match=r"03_uid.*-p scorer tiny-base"):
        hypotheses.answer("demo")


def test_sides_of_spread_keep_their_moments():
    rows = texts(n=30, a=(0, 1), b=(0, 1))
    (first, second) = strata(Measured.of(rows, "uid_variance"), contrast(aspect="spread"))
    assert (first.dataset, second.dataset) == ("news", "stories")
    assert first.of.moments[:, :, 0].sum() == 10
    assert (first.of.values >= 0).all()
