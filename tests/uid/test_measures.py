"""UID metrics against slow, literal implementations, and against the published figures."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.errors import StudyError
from lib.params import UidSettings
from lib.surprisal.rows import SCHEMA, WORD_SCHEMA
from lib.uid import measures as uid
from lib.uid import reading
from tests.conftest import REPOSITORY
from tests.datasets.test_sentences import spans

PUBLISHED = REPOSITORY.parent / "shared" / "reference" / "published"
SETTINGS = UidSettings(power=1.5, first_n=6, ttr_window=4)

texts = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["Ab", " cd", " e", ".", " F", "\n"]), st.floats(0, 40)),
        min_size=1,
        max_size=40,
    ),
    min_size=1,
    max_size=5,
)


def files_of(folder, drawn):
    """The files of step 02 for texts given as tokens with their surprisals; each word is a token here.

    Two texts each are samples of one document.
    """
    rows = []
    for number, text in enumerate(drawn):
        end = 0
        for position, (token, surprisal) in enumerate(text):
            start, end = end, end + len(token)
            row = {"doc_id": str(number // 2), "sample": number % 2, "position": position, "token": token}
            row |= {"start": start, "end": end}
            rows.append({**row, "word": token, "surprisal": surprisal})
    table = pd.DataFrame(rows)
    paths = []
    for name, schema in (("tokens", SCHEMA), ("words", WORD_SCHEMA)):
        whole = table.reindex(columns=schema.names).fillna({"token_id": 0, "context": 1})
        path = folder / f"{name}.parquet"
        half = len(whole) // 2  # two row groups, the border in the midst of a text
        with pq.ParquetWriter(path, schema) as writer:
            for part in (whole[:half], whole[half:]):
                writer.write_table(pa.Table.from_pandas(part, schema, preserve_index=False))
        paths.append(path)
    return *paths, {(str(i // 2), i % 2): "".join(token for token, _ in text) for i, text in enumerate(drawn)}


def measured(folder, drawn, chosen=SETTINGS):
    return uid.metrics(*files_of(folder, drawn), chosen).to_dict("records")


def variance(s):
    return statistics.pvariance(s) if len(s) > 1 else math.nan


def mean_square_step(s):
    return statistics.fmean((b - a) ** 2 for a, b in pairwise(s)) if len(s) > 1 else math.nan


def by_sentence(text, shortest=2):
    """The surprisals of each sentence of `shortest` tokens or more; a token is where it ends."""
    starts = [0, *(start for start, _ in spans("".join(token for token, _ in text))[1:])]
    found, end = [[] for _ in starts], 0
    for token, surprisal in text:
        end += len(token)
        found[max(i for i, start in enumerate(starts) if start <= end - 1)].append(surprisal)
    return [s for s in found if len(s) >= shortest]


def peak(s):
    """The share of the strongest frequency in the power of all, each summed as it is written."""
    if len(s) < 4 or max(s) - min(s) <= 1e-3:
        return math.nan
    n, mean = len(s), statistics.fmean(s)
    power = []
    for k in range(1, n // 2 + 1):
        waves = [(x - mean, 2 * math.pi * j * k / n) for j, x in enumerate(s)]
        power.append(
            sum(x * math.cos(a) for x, a in waves) ** 2 + sum(x * math.sin(a) for x, a in waves) ** 2
        )
    return max(power) / sum(power)


def literal(text, corpus_mean):
    """The metrics as one would write them down for a single text."""
    tokens, s = [token for token, _ in text], [surprisal for _, surprisal in text]
    n, mean, w = len(s), statistics.fmean(s), SETTINGS.ttr_window
    found = {
        "tokens": n,
        "mean_surprisal": mean,
        "median_surprisal": statistics.median(s),
        "min_surprisal": min(s),
        "max_surprisal": max(s),
        "vocab_size": len(set(tokens)),
        "moving_ttr": statistics.fmean(len(set(tokens[i : i + w])) / w for i in range(n - w + 1))
        if n >= w
        else math.nan,
        "uid_variance": variance(s),
        "uid_pairwise": mean_square_step(s),
        "uid_variance_first_n": variance(s[:6]) if n >= 6 else math.nan,
    }
    if n < 2:
        return found
    sentences = by_sentence(text)
    means = [statistics.fmean(each) for each in by_sentence(text, shortest=1)]
    return found | {
        "sentence_variance": variance(means),
        "sentence_pairwise": mean_square_step(means),
        "spectral_peak": peak(s),
        "local_difference": statistics.fmean(abs(b - a) for a, b in pairwise(s)),
        "super_linear_cost": statistics.fmean(x**1.5 for x in s),
        "corpus_deviation": statistics.fmean((x - corpus_mean) ** 2 for x in s),
        "uid_variance_sentence": statistics.fmean(map(variance, sentences)) if sentences else math.nan,
        "uid_pairwise_sentence": statistics.fmean(map(mean_square_step, sentences))
        if sentences
        else math.nan,
    }


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(texts)
def test_metrics_equal_their_formulas_text_by_text(tmp_path, drawn):
    corpus_mean = statistics.fmean(surprisal for text in drawn for _, surprisal in text)
    rows = measured(tmp_path, drawn)
    assert [(row["doc_id"], row["sample"]) for row in rows] == [
        (str(i // 2), i % 2) for i in range(len(drawn))
    ]
    for text, row in zip(drawn, rows, strict=True):
        for name, value in literal(text, corpus_mean).items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name
            if name in uid.OF_A_SERIES:
                assert row[f"word_{name}"] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name
        assert row["words"] == len(text)


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(texts)
def test_blocks_cores_and_what_is_asked_for_change_no_figure(tmp_path, drawn):
    given = *files_of(tmp_path, drawn), SETTINGS
    expected = uid.metrics(*given)
    for rows_at_once, cores in ((1, 1), (1, 3), (20, 2)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "ROWS_AT_ONCE", rows_at_once)
            patch.setattr("os.cpu_count", lambda cores=cores: cores)
            pd.testing.assert_frame_equal(uid.metrics(*given), expected, check_exact=True)
    for names in (uid.CONTRACT, ["tokens", "corpus_deviation"], ["word_corpus_deviation"], ["words"]):
        some = uid.metrics(*given, names)
        pd.testing.assert_frame_equal(some, expected[["doc_id", *names, "sample"]], check_exact=True)


def test_what_stands_after_the_last_token_is_no_sentence_of_the_next_text(tmp_path):
    tokens, words, spelled = files_of(tmp_path, [[(" a", 1.0)] * 4, [("b", 2.0 + i) for i in range(40)]])
    longer = {**spelled, ("0", 0): spelled["0", 0] + ". Nobody scored this. Nor that. " + "And more. " * 3}
    names = ["uid_variance_sentence", "word_uid_pairwise_sentence"]
    rows, expected = (uid.metrics(tokens, words, given, SETTINGS, names) for given in (longer, spelled))
    pd.testing.assert_frame_equal(rows, expected)


def rewritten(path, change):
    """The file with its rows changed."""
    pq.write_table(change(pq.read_table(path)), path)


def test_a_text_without_words_has_its_other_measures(tmp_path, monkeypatch):
    drawn = [[("a", 1.0), (" b", 2.0)]] * 5
    tokens, words, spelled = files_of(tmp_path, drawn)
    whole = uid.metrics(tokens, words, spelled, SETTINGS)
    rewritten(words, lambda rows: pa.concat_tables([rows.slice(0, 2), rows.slice(4, 4)]))
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 1)
    rows = uid.metrics(tokens, words, spelled, SETTINGS)
    of_words = [name for name in uid.METRICS if name.startswith("word")]
    assert rows["words"].isna().tolist() == [False, True, False, False, True]
    pd.testing.assert_frame_equal(rows.drop(columns=of_words), whole.drop(columns=of_words))
    rewritten(words, lambda rows: rows.slice(0, 0))
    assert uid.metrics(tokens, words, spelled, SETTINGS)[of_words].isna().all(axis=None)


def test_words_in_another_order_are_a_sentence(tmp_path, monkeypatch):
    tokens, words, spelled = files_of(tmp_path, [[("a", 1.0), (" b", 2.0)]] * 3)
    rewritten(words, lambda rows: pa.concat_tables([rows.slice(4), rows.slice(0, 4)]))
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 1)
    with pytest.raises(StudyError, match="out of the order"):
        uid.metrics(tokens, words, spelled, SETTINGS)


def test_scale_free_metrics_equal_numpy(tmp_path):
    s = np.random.default_rng(0).gamma(1.0, 4.0, size=200)
    (row,) = measured(tmp_path, [[("a", x) for x in s]])
    assert row["coefficient_of_variation"] == pytest.approx(s.std() / s.mean())
    assert row["pairwise_ratio"] == pytest.approx(np.mean(np.diff(s) ** 2) / s.var())
    d = s - s.mean()
    assert row["autocorrelation"] == pytest.approx((d[1:] @ d[:-1]) / (d @ d))


def test_a_wave_has_one_peak_and_noise_has_none(tmp_path):
    wave = [5 + 3 * math.sin(2 * math.pi * i / 10) for i in range(200)]
    noise = np.random.default_rng(1).gamma(2, 2, 200)
    rows = measured(tmp_path, [[("a", x) for x in wave], [("a", x) for x in noise]])
    assert rows[0]["spectral_peak"] == pytest.approx(1)
    assert rows[1]["spectral_peak"] < 0.15


def test_a_text_of_one_token_has_a_mean_and_no_uniformity(tmp_path):
    (row,) = measured(tmp_path, [[("a", 3.0)]])
    there = {name for name in uid.METRICS if not pd.isna(row[name])}
    assert row["mean_surprisal"] == row["word_mean_surprisal"] == 3.0
    assert {name.removeprefix("word_") for name in there} == {
        *("tokens", "words", "vocab_size", "sentence_length"),
        *("mean_surprisal", "median_surprisal", "min_surprisal", "max_surprisal"),
    }


def test_the_settings_of_a_study_decide(tmp_path):
    text = [[("a", float(i % 7)) for i in range(80)]]
    first, second = measured(tmp_path, text, UidSettings()), measured(tmp_path, text, UidSettings(first_n=10))
    assert first[0]["uid_variance_first_n"] == pytest.approx(np.var([i % 7 for i in range(64)]))
    assert second[0]["uid_variance_first_n"] == pytest.approx(np.var([i % 7 for i in range(10)]))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the original study's published figures are not here")
def test_the_published_metrics_follow_from_the_published_surprisals(tmp_path):
    published = pd.read_csv(PUBLISHED / "uid_metrics.csv")
    names = [name for name in uid.METRICS if name in published.columns and name != "sentence_length"]
    assert len(names) == 8
    for row in published.to_dict("records"):
        file = PUBLISHED / "surprisals" / row["source"] / row["dataset"] / row["filename"]
        tokens = pd.read_csv(file, keep_default_na=False)
        given = list(zip(tokens["token"], tokens["surprisal"].astype(float), strict=True))
        (ours,) = measured(tmp_path, [given])
        tolerance = 1e-4 if row["source"] == "human_texts" else 1e-9
        for name in names:
            assert ours[name] == pytest.approx(row[name], rel=tolerance, abs=tolerance), (file.name, name)
