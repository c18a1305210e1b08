"""How fast step 03 is: this project, and the original study's way (a CSV per text, pandas per text).

python benchmarks/uid.py [--tokens 10000000] [--texts 20000] [--sample 200]

The original's way is measured on a sample of the texts; the ratio is of tokens per second.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pyarrow as pa
from _process import in_own_process, peak_bytes

from lib import store, uid
from lib.params import UidSettings
from lib.scoring import SCHEMA, WORD_SCHEMA
from lib.sentences import sentence_spans

WORDS = np.array([" the", " town", " met", " and", " slowly", " of", ",", ".", " It", " river", "s", " old"])
TEXTS_PER_ROW_GROUP = 20


def prepare(folder: Path, tokens: int, texts: int, sample: int) -> None:
    """Files of step 02 with a row group per part, as a run writes them, and CSV files of the first texts."""
    rng = np.random.default_rng(0)
    lengths = rng.multinomial(tokens, np.full(texts, 1 / texts))
    spelled: dict[str, str] = {}

    def tables(schema: pa.Schema, column: str) -> Iterator[pa.Table]:
        for first in range(0, texts, TEXTS_PER_ROW_GROUP):
            blocks = []
            for i in range(first, min(first + TEXTS_PER_ROW_GROUP, texts)):
                own = np.random.default_rng(i)
                token = own.choice(WORDS, lengths[i])
                end = np.cumsum(np.char.str_len(token))
                block = {"doc_id": f"text_{i:05}", "position": np.arange(lengths[i]), column: token}
                block |= {"start": np.r_[0, end[:-1]], "end": end, "token_id": 0, "context": 1}
                blocks.append(pd.DataFrame(block | {"surprisal": own.gamma(1.0, 4.0, lengths[i])}))
                spelled[f"text_{i:05}"] = "".join(token)
                if i < sample and column == "token":
                    blocks[-1].to_csv(folder / f"text_{i:05}.csv", index=False)
            rows = pd.concat(blocks).reindex(columns=schema.names)
            yield pa.Table.from_pandas(rows, schema, preserve_index=False)

    store.write_stream(folder / "tokens.parquet", tables(SCHEMA, "token"), SCHEMA, {})
    store.write_stream(folder / "words.parquet", tables(WORD_SCHEMA, "word"), WORD_SCHEMA, {})
    (folder / "texts.json").write_text(json.dumps(spelled))


def ours(folder: Path) -> dict[str, float]:
    texts = json.loads((folder / "texts.json").read_text())
    began = perf_counter()
    rows = uid.metrics(folder / "tokens.parquet", folder / "words.parquet", texts, UidSettings())
    return {"tokens": float(rows["tokens"].sum()), "seconds": perf_counter() - began}


def original(folder: Path) -> dict[str, float]:
    """The ten columns of the contract, text by text."""
    texts = json.loads((folder / "texts.json").read_text())
    began, tokens = perf_counter(), 0
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path, keep_default_na=False)
        s = table["surprisal"]
        tokens += len(table)
        s.mean(), s.median(), s.min(), s.max(), s.var(ddof=0), (s.diff().dropna() ** 2).mean()
        table["token"].nunique()
        text = texts[path.stem]
        len(text.split()) / len(sentence_spans(text))
    return {"tokens": float(tokens), "seconds": perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--engine", choices=["ours", "original"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        found = ours(given.folder) if given.engine == "ours" else original(given.folder)
        print(json.dumps(found | {"peak_mb": peak_bytes() / 1e6}))
        return
    speed = {}
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), given.tokens, given.texts, given.sample)
        for engine in ("ours", "original"):
            found = in_own_process(__file__, engine, Path(name))
            speed[engine] = found["tokens"] / found["seconds"]
            print(f"{engine:10}{speed[engine]:14,.0f} tokens/s  peak {found['peak_mb']:,.0f} MB", flush=True)
    print(f"ours / original: {speed['ours'] / speed['original']:.1f}")


if __name__ == "__main__":
    main()
