"""Contours against a literal implementation, and figures from little data."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lib import paths, store
from lib.compare import findings
from lib.figures import comparison, effects, relations, source
from lib.figures.theme import CLASS_COLOURS
from lib.uid import contours
from tests.datasets.test_sentences import spans

TEXTS = {
    "a": "One two three. Four five six. Seven eight nine ten.",
    "b": "Eins zwei drei vier. Und so weiter geht es hier. Ende.",
    "c": "A. B. C.",
}


def tokens_of(texts: dict[str, str]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for doc_id, text in texts.items():
        end = 0
        for position, word in enumerate(text.replace(" ", "| ").split("|")):
            start, end = end, end + len(word)
            rows.append((doc_id, position, word, start, end, rng.gamma(2.0, 2.0), 0))
    return pd.DataFrame(rows, columns=["doc_id", "position", "token", "start", "end", "surprisal", "sample"])


def literal(tokens: pd.DataFrame, place: dict[tuple[str, int], float]) -> dict[float, list[float]]:
    """Position → the mean surprisal of each text there."""
    found: dict[float, dict[str, list[float]]] = {}
    for row in tokens.itertuples():
        found.setdefault(place[row.doc_id, row.position], {}).setdefault(row.doc_id, []).append(row.surprisal)
    return {at: [sum(v) / len(v) for v in texts.values()] for at, texts in found.items()}


@pytest.mark.parametrize("kind", ["relative", "absolute", "sentence"])
def test_contours_are_means_over_texts_of_means_within_texts(kind):
    tokens = tokens_of(TEXTS)
    lengths = tokens.groupby("doc_id").size()
    place = {}
    for row in tokens.itertuples():
        at = row.doc_id, row.position
        if kind == "relative":
            place[at] = (row.position * 4 // lengths[row.doc_id] + 0.5) / 4
        elif kind == "absolute":
            place[at] = (row.position // 3 + 0.5) * 3
        else:
            sentences = spans(TEXTS[row.doc_id])
            (place[at],) = [i + 1 for i, (a, b) in enumerate(sentences) if a < row.end <= b]
    table = {
        "relative": lambda: contours.by_relative_position(tokens, 4),
        "absolute": lambda: contours.by_position(tokens, 3),
        "sentence": lambda: contours.by_sentence(tokens, {(name, 0): text for name, text in TEXTS.items()}),
    }[kind]()
    expected = literal(tokens, place)
    assert set(table["position"]) <= set(expected)
    assert len(table) >= 3
    for row in table.itertuples():
        values = expected[row.position]
        assert row.mean == pytest.approx(np.mean(values))
        assert row.texts == len(values)
        if len(values) > 1:
            error = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
            assert (row.low, row.high) == pytest.approx((row.mean - error, row.mean + error))


def test_contours_keep_the_sources_of_a_class_apart_and_pool_datasets(project):
    rng = np.random.default_rng(4)
    fields = {"doc_id": pa.string(), "sample": pa.int32(), "position": pa.int64(), "surprisal": pa.float64()}
    schema = pa.schema(list(fields.items()))
    every: dict[str, list[pd.DataFrame]] = {}
    for source_name, shift in (("one", 0), ("two", 1), ("people", 3)):
        for dataset in ("d", "e"):
            rows = pd.DataFrame(
                {
                    "doc_id": np.repeat(["a", "b", "c"], 40),
                    "sample": 0,
                    "position": np.tile(range(40), 3),
                    "surprisal": shift + rng.random(120),
                }
            )
            made = store.record("made up", parameters={}, inputs={}, packages=(), units={})
            store.write(paths.surprisals("s", dataset, source_name), rows, schema, made)
            every.setdefault(source_name, []).append(rows.assign(doc_id=dataset + rows["doc_id"]))
    pairs = list(product("de", ("people", "one", "two")))
    table = contours.of_sources("s", pairs, {"people": "human", "one": "base", "two": "base"})
    for source_name, parts in every.items():
        alone = contours.by_relative_position(pd.concat(parts, ignore_index=True))
        found = table[table["source"] == source_name].reset_index(drop=True)
        pd.testing.assert_frame_equal(found[alone.columns], alone)
        assert found["texts"].eq(6).all()
    chart = comparison.contours(table).to_json()
    assert CLASS_COLOURS["human"] in chart
    assert "; one: " in comparison.contours(table).to_dict()["description"]


def test_texts_of_one_prompt_are_one_to_a_contour():
    tokens = tokens_of(TEXTS)
    again = tokens.assign(sample=1, surprisal=tokens["surprisal"] + 1.0)
    table = contours.by_relative_position(pd.concat([tokens, again], ignore_index=True), 4)
    expected = contours.by_relative_position(tokens.assign(surprisal=tokens["surprisal"] + 0.5), 4)
    columns = ["position", "mean", "low", "high"]
    pd.testing.assert_frame_equal(table[columns], expected[columns])
    assert list(table["texts"]) == [2 * n for n in expected["texts"]]


def test_positions_that_few_texts_reach_are_left_out():
    tokens = tokens_of({**{f"t{i}": "One two." for i in range(8)}, "long": "word " * 200})
    assert contours.by_position(tokens)["position"].max() < 20


@pytest.mark.parametrize("count", [3, 40])
def test_every_figure_draws_from_few_texts_and_from_equal_ones(count):
    rng = np.random.default_rng(2)
    classes = {"people": "human", "one": "base", "two": "base"}
    rows = pd.concat(
        pd.DataFrame(
            {
                "doc_id": [str(i) for i in range(count)],
                "sample": 0,
                "source": name,
                "tokens": 20 + np.arange(count),
                "mean_surprisal": rng.normal(4, 1, count),
                "uid_variance": rng.normal(15, 2, count) if name != "two" else 15.0,
                "uid_pairwise": rng.normal(28, 4, count),
                "coefficient_of_variation": np.nan,
            }
        )
        for name in classes
    )
    tests = pd.DataFrame(
        [("people", "one", "uid_variance", "kolmogorov_smirnov", 0.25)],
        columns=["group_a", "group_b", "metric", "test", "effect"],
    )
    one = rows[rows["source"] == "two"]
    charts = [
        comparison.densities(rows, classes),
        comparison.boxes(rows, classes),
        comparison.violins(rows, classes),
        comparison.cumulative(rows, tests, classes),
        relations.pairs(rows, classes),
        relations.lengths(rows, classes),
        relations.by_length(rows, classes),
        relations.correlations(rows, classes),
        source.distributions(one, "base"),
        source.boxes(one, "base"),
        source.pairs(one, "base"),
        source.lengths(one, "base"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert len(spec["description"]) > 40
        assert sum(map(len, spec["datasets"].values())) < 2500
    assert "D = 0.25" in charts[3].to_dict()["description"]


def test_one_source_is_drawn_in_the_colour_of_its_class():
    tokens = tokens_of(TEXTS)
    few = pd.DataFrame({"doc_id": ["a", "b"], "sample": 0})
    texts = pd.DataFrame({"doc_id": list(TEXTS), "sample": 0, "text": list(TEXTS.values())})
    for text_class, colour in CLASS_COLOURS.items():
        charts = [
            source.length_histogram(texts, text_class),
            source.surprisal_histogram(tokens, text_class),
            source.sample_curves(tokens, few[:1], text_class),
            source.samples_together(tokens, few, text_class),
            source.contours(tokens, texts, text_class),
        ]
        for chart in charts:
            said = chart.to_json()
            assert colour in said
            assert not any(other in said for other in CLASS_COLOURS.values() if other != colour)


EFFECTS = {
    "mann_whitney_u": (-0.4, -0.5, -0.3),
    "wilcoxon_signed_rank": (-0.5, -0.6, -0.4),
    "welch_t": (-0.8, -1.1, -0.5),
    "brown_forsythe": (0.5, 0.3, 0.8),
}


def effect_rows(pairs: list[tuple[str, str]], **changed: tuple[float, float, float]) -> pd.DataFrame:
    """All effects of `pairs` on the headline metrics; those named are replaced in the last pair."""
    rows = []
    for place, metric in enumerate(source.HEADLINE):
        for pair in pairs:
            for test, values in EFFECTS.items():
                effect, low, high = changed.get(test, values) if pair == pairs[-1] else values
                p = (0.01 if test == "welch_t" else 0.2) + 0.001 * place
                rows.append((*pair, metric, test, effect, low, high, p))
    columns = ["group_a", "group_b", "metric", "test", "effect", "ci_low", "ci_high", "p_adjusted_bh"]
    return pd.DataFrame(rows, columns=columns)


def shown(chart) -> list[dict]:
    """Every row that a chart has."""
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def test_the_forest_has_every_effect_with_its_interval():
    pairs = [("people", "one"), ("people", "two"), ("one", "two")]
    forest = effects.forest(effect_rows(pairs), pairs)
    rows = [row for row in shown(forest) if "pair" in row]
    assert len(rows) == len(pairs) * len(EFFECTS) * len(source.HEADLINE)
    assert {(row["low"], row["at"], row["high"]) for row in rows} == {
        (b, a, c) for a, b, c in EFFECTS.values()
    }
    assert sum(row["kind"] == "p < 0.05 after Benjamini–Hochberg" for row in rows) == len(pairs) * len(
        source.HEADLINE
    )
    assert "9 of 36 stand after Benjamini and Hochberg's correction" in forest.to_dict()["description"]
    assert len([row for row in shown(effects.spread(effect_rows(pairs))) if "pair" in row]) == 9


def test_of_many_pairs_those_of_the_claim_come_first():
    classes = {"people": "human"}
    families = {"people": "human"}
    for family in ("one", "two"):
        for text_class in ("base", "instruct", "rlhf"):
            classes[f"{family}-{text_class}"] = text_class
            families[f"{family}-{text_class}"] = family
    pairs = list(combinations(classes, 2))
    tests = effect_rows(pairs)
    first = findings.pairs_to_begin_with(tests, classes, families)
    assert len(first) == 4 + 4  # each tuned one with people, and with its own base
    assert ("one-base", "one-rlhf") in first
    assert ("one-base", "two-rlhf") not in first
    assert findings.pairs_to_begin_with(tests, classes, families, most=21) == pairs
    forest, others = effects.forest(tests, first), effects.others(tests, first)
    assert forest.to_dict()["title"]["text"][0].startswith("8 of 21 pairs.")
    drawn = [{row["pair"] for row in shown(chart) if "pair" in row} for chart in (forest, others)]
    assert (len(drawn[0]), len(drawn[1]), len(drawn[0] | drawn[1])) == (8, 13, 21)
    assert effects.others(tests, pairs) is None


def test_what_the_forest_cannot_show_is_said():
    nan = float("nan")
    tests = effect_rows(
        [("people", "one"), ("people", "a-model-with-a-rather-long-name@q8_0")],
        mann_whitney_u=(-1.0, nan, nan),  # no overlap
        welch_t=(9.0, 7.0, 11.0),
        brown_forsythe=(0.001, 0.0005, 0.002),
    )
    tests = tests[~((tests["test"] == "wilcoxon_signed_rank") & (tests["group_b"] == "one"))]
    forest = effects.forest(tests, list(dict.fromkeys(zip(tests["group_a"], tests["group_b"], strict=True))))
    rows = pd.DataFrame([row for row in shown(forest) if "pair" in row])
    outside = rows[rows["beyond"] != ""]
    assert (
        sorted(zip(outside["effect"], outside["at"], strict=True)) == [(0.001, 1 / 16)] * 3 + [(9.0, 3.0)] * 3
    )
    assert rows[rows["low"].isna()]["at"].tolist() == [-1.0] * 3  # its point is there without an interval
    title = " ".join(forest.to_dict()["title"]["text"])
    assert "18 values lie beyond the axes, 6 of them effects, drawn as arrows" in title
    assert "3 without an interval" in title
    assert "No paired test of 3" in title
    assert forest.to_json().count("labelExpr") >= 12  # long names take two lines
