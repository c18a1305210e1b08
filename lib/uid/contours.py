"""Where in a text information is dense: mean surprisal by position (Tsipidi et al. 2024).

"Surprise! Uniform Information Density Isn't the Whole Story: Predicting Surprisal Contours in
Long-form Discourse". Every table has the columns `position`, `mean`, `low`, `high` (bits) and
`texts`. A text is averaged at each position first, so that long ones do not weigh more, then the
texts of one prompt, which are not independent; the band is ±1.96 standard errors over prompts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib import paths, store
from lib.datasets.document import KEYS, Key
from lib.datasets.sentences import sentences

BINS = 20
SHARE = 0.25  # of the texts: a position that fewer of them reach is left out
MOST = 100  # positions that a figure draws
COLUMNS = [*KEYS, "position", "surprisal"]


def by_relative_position(tokens: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """`position` is the middle of each of `bins` parts of a text, between 0 and 1.

    `tokens` are rows of step 02.
    """
    lengths = tokens.groupby(KEYS)["position"].transform("size")
    table = _over_texts(tokens, (tokens["position"] * bins // lengths).astype(int))
    return table.assign(position=(table["position"] + 0.5) / bins)


def by_position(tokens: pd.DataFrame, width: int = 10) -> pd.DataFrame:
    """`position` is the middle of each `width` tokens from a text's beginning, as far as enough texts go."""
    table = _over_texts(tokens, tokens["position"] // width)
    enough = table["texts"] >= SHARE * _count(tokens)
    return table[enough].assign(position=lambda t: (t["position"] + 0.5) * width)


def by_sentence(tokens: pd.DataFrame, texts: Mapping[Key, str], language: str = "en") -> pd.DataFrame:
    """`position` is the number of the sentence within its text, from 1, as far as enough texts go.

    A token belongs to the sentence in which it ends; `texts` maps `doc_id` and `sample` to the text,
    whose sentences are those of `language`.
    """
    numbers = np.zeros(len(tokens), dtype=np.int64)
    ends = tokens["end"].to_numpy()
    for key, rows in tokens.groupby(KEYS, sort=False).indices.items():
        (begins,) = sentences([texts[key]], language).starts
        numbers[rows] = np.searchsorted(begins, ends[rows], side="left").clip(min=1)
    table = _over_texts(tokens, pd.Series(numbers, index=tokens.index))
    return table[table["texts"] >= SHARE * _count(tokens)]


def of_sources(scorer: str, pairs: Sequence[tuple[str, str]], classes: Mapping[str, str]) -> pd.DataFrame:
    """`by_relative_position` of each source, with `source` and `text_class`.

    `pairs` are the (dataset, source) that there are; `classes` has the class of each source. Sources
    of a class are not pooled: models of a class need have nothing in common. Raises StudyError for a
    file of step 02 that is missing or broken.
    """
    tables = []
    for source, text_class in classes.items():
        tokens = [
            store.read(paths.surprisals(scorer, dataset, source), "make study", COLUMNS).assign(
                doc_id=lambda t, where=f"{dataset}/": where + t["doc_id"]
            )
            for dataset, of in pairs
            if of == source
        ]
        table = by_relative_position(pd.concat(tokens, ignore_index=True))
        tables.append(table.assign(source=source, text_class=text_class))
    return pd.concat(tables, ignore_index=True)


def thinned(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """At most `most` rows of `table`, evenly along it, the first and the last among them."""
    if len(table) <= most:
        return table
    return table.iloc[np.linspace(0, len(table) - 1, most).round().astype(int)]


def _over_texts(tokens: pd.DataFrame, position: pd.Series) -> pd.DataFrame:
    keys = [tokens[name] for name in KEYS]
    by_text = tokens["surprisal"].groupby([*keys, position.rename("position")]).mean()
    by_prompt = by_text.groupby(level=["doc_id", "position"]).mean()
    grouped = by_prompt.groupby(level="position")
    mean, error = grouped.mean(), 1.96 * grouped.sem()
    texts = by_text.groupby(level="position").size()
    table = pd.DataFrame({"mean": mean, "low": mean - error, "high": mean + error, "texts": texts})
    return table.reset_index()


def _count(tokens: pd.DataFrame) -> int:
    """Of texts."""
    return int(tokens.groupby(KEYS).ngroups)
