"""How fast step 03 is: this project, and the original study's way (a CSV per text, pandas per text).

python benchmarks/uid.py [--tokens 10000000] [--texts 20000] [--sample 300] [--rounds 5] [--seconds 300]

Both ways compute the columns of the contract from the tokens, and all metrics from tokens and words.
The original's way is measured on a sample of the texts, from files of two columns as the study's, and
with this project's segmenter of sentences (the study took NLTK's). The figures of both must agree.
A speed is the best of `RUNS` in a process, in tokens per second, and per second that processors worked:
other work on the machine falsifies these less, but they do not show that this project uses all cores.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
import pyarrow as pa
import sentencex
from _process import peak_bytes
from _rounds import Benchmark, Column, Ratio, Rounds, arguments

from lib import store
from lib.params import UidSettings
from lib.surprisal.rows import SCHEMA, WORD_SCHEMA
from lib.uid import measures as uid

TEXTS_PER_ROW_GROUP = 20  # about what step 02 writes
TEN = ["tokens", *uid.CONTRACT, "vocab_size", "sentence_length"]
SETTINGS = UidSettings()
WAYS = {
    "original_ten": "the contract's ten columns, the original's way",
    "ours_ten": "the contract's ten columns, this project",
    "original_all": f"all {len(uid.METRICS)} metrics, the original's way",
    "ours_all": f"all {len(uid.METRICS)} metrics, this project",
}
PER_PROCESSOR = "tokens_per_processor_second"
RATIOS = [
    Ratio("ours_ten", "original_ten"),
    Ratio("ours_ten", "original_ten", figure=PER_PROCESSOR),
    Ratio("ours_all", "original_all", 50),
    Ratio("ours_all", "original_all", figure=PER_PROCESSOR),
]
RUNS = 3


def vocabulary(size: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and their probabilities, as in English: Zipf's law, one in 20 ends a sentence."""
    rng = np.random.default_rng(0)
    letters = rng.choice(list("etaoinshrdlu"), (size, 10))
    words = [" " + "".join(row[: rng.integers(2, 11)]) for row in letters]
    zipf = 1 / np.arange(1, size + 1)
    return np.array([".", ",", *words]), np.r_[0.05, 0.05, 0.9 * zipf / zipf.sum()]


def prepare(folder: Path, tokens: int, texts: int, sample: int) -> None:
    """Files of step 02 with a row group per part, as a run writes them, and CSV files of the first texts."""
    lengths = np.random.default_rng(0).multinomial(tokens, np.full(texts, 1 / texts))
    spellings, probabilities = vocabulary()
    spelled: dict[str, str] = {}

    def tables(schema: pa.Schema, column: str) -> Iterator[pa.Table]:
        (folder / column).mkdir()
        for first in range(0, texts, TEXTS_PER_ROW_GROUP):
            blocks = []
            for i in range(first, min(first + TEXTS_PER_ROW_GROUP, texts)):
                own, doc_id = np.random.default_rng(i), f"text_{i:05}"
                token = own.choice(spellings, lengths[i], p=probabilities)
                # A sentence begins with a capital.
                opens = np.flatnonzero(np.r_[True, token[:-1] == "."])
                token[opens] = np.char.title(token[opens])
                end = np.cumsum(np.char.str_len(token))
                block = {"doc_id": doc_id, "position": np.arange(lengths[i]), column: token}
                block |= {"start": np.r_[0, end[:-1]], "end": end, "token_id": 0, "context": 1, "sample": 0}
                blocks.append(pd.DataFrame(block | {"surprisal": own.gamma(1.0, 4.0, lengths[i])}))
                spelled[doc_id] = "".join(token)
                if i < sample:
                    blocks[-1][[column, "surprisal"]].to_csv(folder / column / f"{doc_id}.csv", index=False)
            rows = pd.concat(blocks).reindex(columns=schema.names)
            yield pa.Table.from_pandas(rows, schema, preserve_index=False)

    store.write_stream(folder / "tokens.parquet", tables(SCHEMA, "token"), SCHEMA, {})
    store.write_stream(folder / "words.parquet", tables(WORD_SCHEMA, "word"), WORD_SCHEMA, {})
    (folder / "texts.json").write_text(json.dumps(spelled))


def ours(folder: Path, texts: dict[str, str], names: list[str]) -> pd.DataFrame:
    keyed = {(doc_id, 0): text for doc_id, text in texts.items()}
    return uid.metrics(folder / "tokens.parquet", folder / "words.parquet", keyed, SETTINGS, names)


def original(folder: Path, texts: dict[str, str], names: list[str]) -> pd.DataFrame:
    """Text by text, but for the corpus deviation, which follows from the mean and the variance."""
    rows = []
    for path in sorted((folder / "token").glob("*.csv")):
        text = texts[path.stem]
        table = pd.read_csv(path, keep_default_na=False)
        starts = sentence_starts(text)
        row = {"doc_id": path.stem, **of_contract(table["surprisal"]), "tokens": len(table)}
        row["vocab_size"] = table["token"].nunique()
        row["sentence_length"] = len(text.split()) / len(starts)
        if names != TEN:
            row |= of_all(table["token"], table["surprisal"], starts)
            row["moving_ttr"] = moving_ttr(table["token"].tolist(), SETTINGS.ttr_window)
            table = pd.read_csv(folder / "word" / path.name, keep_default_na=False)
            of_words = of_contract(table["surprisal"])
            of_words |= of_all(table["word"], table["surprisal"], starts)
            row |= {"words": len(table), **{f"word_{name}": value for name, value in of_words.items()}}
        rows.append(row)
    found = pd.DataFrame(rows)
    for word, count in (("", "tokens"), ("word_", "words")) if names != TEN else ():
        mean = np.average(found[f"{word}mean_surprisal"], weights=found[count])
        apart = found[f"{word}mean_surprisal"] - mean
        found[f"{word}corpus_deviation"] = found[f"{word}uid_variance"] + apart**2
    return found[["doc_id", *names]]


def sentence_starts(text: str) -> list[int]:
    starts, end = [], 0
    for piece in sentencex.segment("en", text):
        if piece.strip():
            starts.append(end + len(piece) - len(piece.lstrip()))
        end += len(piece)
    return starts


def of_contract(s: pd.Series) -> dict[str, float]:
    return {
        "mean_surprisal": s.mean(),
        "median_surprisal": s.median(),
        "min_surprisal": s.min(),
        "max_surprisal": s.max(),
        "uid_variance": s.var(ddof=0),
        "uid_pairwise": (s.diff().dropna() ** 2).mean(),
    }


def of_all(tokens: pd.Series, s: pd.Series, starts: list[int]) -> dict[str, float]:
    """The metrics of `uid.OF_A_SERIES` that are not in the contract; sentences begin at `starts`."""
    deviation, step = s - s.mean(), s.diff().dropna()
    variance, first = s.var(ddof=0), s.head(SETTINGS.first_n)
    last_character = tokens.str.len().cumsum() - 1
    number = np.searchsorted(starts, last_character, side="right").clip(min=1)
    by_sentence = s.groupby(number)
    means = by_sentence.mean()
    power = np.abs(np.fft.rfft(deviation)[1:]) ** 2
    return {
        "sentence_variance": means.var(ddof=0) if len(means) > 1 else np.nan,
        "sentence_pairwise": (means.diff().dropna() ** 2).mean(),
        "spectral_peak": power.max() / power.sum(),
        "local_difference": step.abs().mean(),
        "super_linear_cost": (s**SETTINGS.power).mean(),
        "uid_variance_sentence": by_sentence.var(ddof=0)[by_sentence.size() > 1].mean(),
        "uid_pairwise_sentence": (by_sentence.diff() ** 2).groupby(number).mean().mean(),
        "coefficient_of_variation": variance**0.5 / s.mean(),
        "pairwise_ratio": (step**2).mean() / variance,
        "autocorrelation": (deviation * deviation.shift()).sum() / (deviation**2).sum(),
        "uid_variance_first_n": first.var(ddof=0) if len(s) >= SETTINGS.first_n else np.nan,
    }


def moving_ttr(tokens: list[str], window: int) -> float:
    windows = range(len(tokens) - window + 1)
    return float(np.mean([len(set(tokens[i : i + window])) for i in windows]) / window)


def measure(way: str, folder: Path) -> dict[str, float]:
    """The best speeds of `RUNS`, and the peak of memory; the figures are left in `folder`."""
    compute = {"ours": ours, "original": original}[way.split("_")[0]]
    names = TEN if way.endswith("ten") else list(uid.METRICS)
    texts = json.loads((folder / "texts.json").read_text())
    seconds, worked = [], []
    for _ in range(RUNS):
        began, worked_before = perf_counter(), process_time()
        rows = compute(folder, texts, names)
        seconds.append(perf_counter() - began)
        worked.append(process_time() - worked_before)
    peak = peak_bytes() / 1e6
    rows.to_parquet(folder / f"{way}.parquet")
    tokens = float(rows["tokens"].sum())
    speeds = {"tokens_per_second": tokens / min(seconds), PER_PROCESSOR: tokens / min(worked)}
    return {**speeds, "peak_mb": peak}


def agree(folder: Path, kind: str) -> None:
    """Raises AssertionError where both ways were measured and their figures differ."""
    ways = [folder / f"{by}_{kind}.parquet" for by in ("original", "ours")]
    if not all(way.exists() for way in ways):
        return
    theirs, own = map(pd.read_parquet, ways)
    # The mean of the corpus is that of the sample there, that of all texts here.
    theirs = theirs.drop(columns=[name for name in theirs if name.endswith("corpus_deviation")])
    own = own.head(len(theirs))[theirs.columns]
    pd.testing.assert_frame_equal(theirs, own, check_dtype=False, rtol=1e-9)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=300)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(measure(given.engine, given.folder)))
        return
    columns = [
        Column("tokens_per_second", "tokens/s"),
        Column(PER_PROCESSOR, "tokens per processor second"),
        Column("peak_mb", "peak memory, MB"),
    ]
    benchmark = Benchmark(
        script=__file__,
        engines=WAYS,
        columns=columns,
        ratios=RATIOS,
        settings={"tokens": given.tokens, "texts": given.texts, "sample": given.sample},
        packages=("numpy", "pandas", "pyarrow", "sentencex"),
        code=("lib.uid.measures",),
    )
    rounds = Rounds(benchmark, given)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if any(rounds.missing()):
            prepare(folder, given.tokens, given.texts, given.sample)
        rounds.measure(dict.fromkeys(WAYS, folder))
        agree(folder, "ten")
        agree(folder, "all")


if __name__ == "__main__":
    main()
