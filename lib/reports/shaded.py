"""Texts with each token shaded by its surprisal, so that a reader sees where information is dense."""

import re
from collections.abc import Iterable
from html import escape
from urllib.parse import quote

import pandas as pd
from IPython.display import HTML

from lib.datasets.document import KEYS

MOST = 3000  # tokens of a text that are shaded; what follows stands plain, so that a page stays quick
DARKEST = 16  # bits; what is above looks the same
SHADE = "0, 114, 178"  # of the project's palette, told apart by the colour-blind
STYLE = """
<style>
.shaded { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 70ch }
.shaded { line-height: 1.7; margin: 0.5rem 0 1.5rem }
.shaded .prompt { opacity: 0.6 }
.shaded-scale span { padding: 0 0.6rem }
</style>
"""


def linked(rows: pd.DataFrame, page: str = "../texts.html") -> pd.DataFrame:
    """`rows` with each `doc_id` as a Markdown link to the text on the dataset's page of texts.

    The column `sample` stays where a source has several texts of one prompt.
    """
    links = [
        f"[{_plain(doc_id)}]({page}#{quote(doc_id, safe='')}{f'~{sample}' if sample else ''})"
        for doc_id, sample in zip(rows["doc_id"], rows["sample"], strict=True)
    ]
    shown = rows if rows["sample"].any() else rows.drop(columns="sample")
    return shown.assign(doc_id=links)


def _plain(name: str) -> str:
    """`name` so that neither Markdown nor HTML makes anything of it."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~$!&])", r"\\\1", name)


def shaded(texts: pd.DataFrame, tokens: pd.DataFrame, chosen: pd.DataFrame) -> HTML:
    """The texts of `chosen` (doc_id, sample), the prompt pale before each, with a scale.

    `texts` are rows of step 01, `tokens` of step 02. Hover gives token, bits and rank; rank 1 is the
    token that the scorer held most probable there, and imported surprisals have none. Whatever stands
    in a text is escaped.
    """
    by_key = texts.set_index(KEYS)
    pieces = [STYLE, _scale()]
    for doc_id, sample in chosen[KEYS].itertuples(index=False):
        row = by_key.loc[(doc_id, sample)]
        own = tokens[(tokens["doc_id"] == doc_id) & (tokens["sample"] == sample)]
        spans = "".join(_spans(row["text"], own.head(MOST)))
        name = escape(f"{doc_id} ({sample})" if sample else doc_id)
        pieces.append(
            f'<section aria-label="{name}"><h4>{name}</h4><div class="shaded">'
            f'<span class="prompt">{escape(row["prompt"])}</span>{spans}'
            f"</div>{_how_many(len(own))}</section>"
        )
    return HTML("".join(pieces))


def _how_many(tokens: int) -> str:
    return f"<p>Shaded are the first {MOST:,} of {tokens:,} tokens.</p>" if tokens > MOST else ""


def _spans(text: str, tokens: pd.DataFrame) -> Iterable[str]:
    end = 0
    for token in tokens.itertuples():
        yield escape(text[end : token.start])  # imported tokens leave the first one out
        rank = "" if pd.isna(token.rank) else f", rank {token.rank:.0f}"
        about = f"{token.token!r}: {token.surprisal:.2f} bits{rank}"
        yield (
            f'<span title="{escape(about)}" style="background: rgba({SHADE}, {_depth(token.surprisal):.2f})">'
            f"{escape(token.token)}</span>"
        )
        end = token.end
    yield escape(text[end:])


def _depth(bits: float) -> float:
    return 0.75 * min(max(bits, 0) / DARKEST, 1)


def scale() -> list[tuple[int, str]]:
    """Some bits, and the colour of a token with as many."""
    return [(bits, f"rgba({SHADE}, {_depth(bits):.2f})") for bits in (0, 2, 4, 8, 12, DARKEST)]


def _scale() -> str:
    shades = "".join(f'<span style="background: {colour}">{bits}</span>' for bits, colour in scale())
    return f'<p class="shaded-scale">bits of a token: {shades} and more</p>'
