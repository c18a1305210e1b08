"""Step 02: every token of every text gets its surprisal, −log₂ p(token | what came before), in bits.

The sequence that the scorer reads is BOS, the prompt's tokens, the text's tokens. Prompt and text
are tokenised apart, so that no token straddles the border and the text's tokens tile the text. BOS
stands there once; the further windows of a long text begin in its midst and have none.

As a library:

    from lib.surprisal import score

    score(["The cat sat on the mat."], scorer="tiny-scorer")
"""

import gc
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import pyarrow as pa

from lib import machine, paths, store
from lib.backends import agreed
from lib.backends.engines import deciding, engine_of, identity, open_scoring_model
from lib.batches import batches
from lib.datasets import imported, word_lists
from lib.datasets.document import Key
from lib.errors import StudyError, nearest
from lib.params import LlamaCpp, Scorer, Transformers, load_scorer
from lib.params.run import Run, command
from lib.parts import Parts
from lib.progress import Bar
from lib.surprisal import listed
from lib.surprisal.again import score_missing
from lib.surprisal.rows import SCHEMA, WORD_SCHEMA, Text, described, listed_in_record, score_rows
from lib.surprisal.sent import sent

UNITS = {
    "surprisal": "bits",
    "entropy": "bits",
    "surprisal_uncorrected": "bits",
    "start": "characters",
    "end": "characters",
    "context": "tokens",
    "rank": "place among the scorer's vocabulary, 1 for the most probable token",
}
CHARACTERS_PER_PART = 32_768  # where that fills the scorer's batches
TEXTS_FOR_DEVIATION = 8


@dataclass(frozen=True)
class ScoringSummary:
    """What was scored and how fast.

    `scored_now` counts the tokens of this run, 0 if all was there; `seconds` is what they took,
    without opening the scorer. `not_scored` maps a text's doc_id and sample to the reason. `measured`
    is what the run found out about the scorer: its BOS, window and stride, and the deviation of its
    dtype.
    """

    texts: int
    tokens: int
    words: int
    scored_now: int
    seconds: float
    not_scored: dict[Key, str] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float:
        return self.scored_now / self.seconds if self.scored_now else 0.0

    def table(self) -> pd.DataFrame:
        speed = f"{self.tokens_per_second:,.0f}" if self.scored_now else "all there already"
        row = {
            "texts": self.texts,
            "tokens": self.tokens,
            "words": self.measured.get("why_no_words") or self.words,
            "tokens per second": speed,
            "texts not scored": len(self.not_scored),
        }
        if deviation := self.measured.get("deviation"):
            row["deviation from float32"] = deviation.get("not_measured") or (
                f"{deviation['mean_absolute']:.4f} bits a token, at most {deviation['largest']:.3f}"
            )
        return pd.DataFrame([row])

    def not_scored_table(self) -> pd.DataFrame:
        return pd.DataFrame(listed_in_record(self.not_scored), columns=["doc_id", "sample", "reason"])


def score(
    texts: Sequence[str],
    scorer: str,
    prompts: Sequence[str] | None = None,
    *,
    entropy: bool = False,
    words: Sequence[Sequence[str]] | None = None,
) -> pd.DataFrame:
    """The tokens of `texts` as rows of `SCHEMA`; `doc_id` is a text's number, "0" for the first.

    With `words`, a list for each text, the rows are these words (`WORD_SCHEMA`) in place of tokens; how
    tokens are given to them is said in `lib.surprisal.listed`. `scorer` is the name of a params file, the
    path of a model, or a name on the hub with a slash in it.

    Warns of a text that cannot be scored, an empty one say. Raises StudyError if there is no such scorer,
    it cannot be opened or tells nothing of words, or a list does not match its text.
    """
    declared = _scorer(scorer)
    declared = declared.model_copy(
        update={"scoring": declared.scoring.model_copy(update={"entropy": entropy})}
    )
    given = prompts if prompts is not None else [""] * len(texts)
    lists = [None] * len(texts) if words is None else [tuple(each) for each in words]
    rows = [
        Text(str(i), prompt, text, words=own)
        for i, (prompt, text, own) in enumerate(zip(given, texts, lists, strict=True))
    ]
    for row in rows:
        if row.words is not None:
            listed.spans(row.text, row.words, row.doc_id)  # before a model is opened
    model = open_scoring_model(declared.weights)
    if words is not None and (why := model.why_no_words):
        raise StudyError(why)
    parts = [score_rows(model, declared.scoring, part) for part in _parts(rows, CHARACTERS_PER_PART)]
    for part in parts:
        for (doc_id, _), reason in part.not_scored.items():
            warnings.warn(f"Text {doc_id} is not scored: {reason}.", stacklevel=2)
    if words is not None:
        return pa.concat_tables([WORD_SCHEMA.empty_table(), *(part.words for part in parts)]).to_pandas()
    return pa.concat_tables([SCHEMA.empty_table(), *(part.tokens for part in parts)]).to_pandas()


def _scorer(name: str) -> Scorer:
    """The scorer of a params file, else of a path or of a name on the hub."""
    if paths.source_file(name).exists():
        return load_scorer(name)
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.exists():
        return Scorer(kind="scorer", weights=LlamaCpp(backend="llama_cpp", file=str(path.resolve())))
    if path.is_dir():
        return Scorer(kind="scorer", weights=Transformers(backend="transformers", model=str(path.resolve())))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return Scorer(kind="scorer", weights=Transformers(backend="transformers", model=name))
    return load_scorer(name)  # says what there is


def score_texts(run: Run) -> ScoringSummary:
    """Write `paths.surprisals` and `paths.words` of the run's source.

    Texts without a word (an error, or nothing written) and those that the scorer cannot do are left
    out and listed with the reason. A run that was stopped continues after its last complete part;
    complete files are left alone, apart from what a server failed to score, which gets another chance.

    Raises StudyError for a missing or broken file of texts, missing weights, or a window that does
    not suit the scorer.
    """
    rows, texts, not_scored = _texts(run)
    tokens_path = paths.surprisals(run.scorer_name, run.dataset_name, run.source_name)
    words_path = paths.words(run.scorer_name, run.dataset_name, run.source_name)
    made = _record(run)
    scored_now, seconds = 0, 0.0
    with store.lock(tokens_path):
        if run.regenerate:
            store.keep(words_path)
            store.keep(tokens_path)
        there = store.is_to_be_had(words_path, made) and store.is_to_be_had(tokens_path, made)
        if run.study.imported and (run.regenerate or not there):
            _import(run, rows, made)
        elif run.regenerate or not there:
            scored_now, seconds = _score_in_parts(
                run,
                texts,
                Parts(tokens_path, SCHEMA, made, _part(run), fresh=run.regenerate),
                Parts(words_path, WORD_SCHEMA, made, _part(run), fresh=run.regenerate),
            )
        elif not run.study.imported and not run.reads_only and engine_of(run.scorer.weights).remote:
            began = perf_counter()
            scored_now = score_missing(run, texts, tokens_path, words_path)
            seconds = perf_counter() - began
        measured = store.measured(tokens_path)
    not_scored |= {(row["doc_id"], row["sample"]): row["reason"] for row in measured.pop("not_scored", [])}
    return ScoringSummary(
        texts=len(rows) - len(not_scored),
        tokens=store.count(tokens_path),
        words=store.count(words_path),
        scored_now=scored_now,
        seconds=seconds,
        not_scored=not_scored,
        measured=measured,
    )


def _with_words(run: Run, texts: list[Text]) -> list[Text]:
    """`texts`, with the words that the dataset brings for people's.

    A list is of the text as people wrote it, opening included, or of what comes after the opening. Raises
    StudyError for a list that does not match its text, or a text without one.
    """
    declared = word_lists.of(run.dataset)
    if declared is None or run.source.text_class != "human" or run.study.imported:
        return texts
    lists = word_lists.read(declared)
    found = []
    for each in texts:
        if each.doc_id not in lists:
            hint = nearest(each.doc_id, lists)
            raise StudyError(f"The table of words {declared.file} has none of text {each.doc_id!r}; {hint}")
        words = listed.after(each.prompt, each.text, lists[each.doc_id], each.doc_id)
        found.append(replace(each, words=words))
    return found


def score_shard(run: Run, shard: tuple[int, int]) -> int:
    """Score the parts of `shard` (i, n); how many tokens that was. As `lib.generate.texts.write_shard`."""
    if run.study.imported:
        return 0
    _, texts, _ = _texts(run)
    made = _record(run)
    place = (run.scorer_name, run.dataset_name, run.source_name)
    with store.lock(paths.surprisals(*place)):
        if all(store.is_to_be_had(file(*place), made) for file in (paths.words, paths.surprisals)):
            return 0
    tokens = Parts(paths.surprisals(*place), SCHEMA, made, _part(run), shard=shard)
    words = Parts(paths.words(*place), WORD_SCHEMA, made, _part(run), shard=shard)
    with store.lock(tokens.folder / f"shard-{shard[0]}-of-{shard[1]}"):
        return _score_in_parts(run, texts, tokens, words)[0]


def _texts(run: Run) -> tuple[pd.DataFrame, list[Text], dict[Key, str]]:
    """The rows of step 01, those of them that can be scored, and by key why others cannot."""
    rows = store.read(
        paths.texts(run.dataset_name, run.source_name),
        command("01_generate", run),
        ["doc_id", "sample", "prompt", "text", "status", "error", "sent"],
    ).fillna({"prompt": "", "text": "", "error": ""})
    not_scored = {
        (row.doc_id, row.sample): row.error or "the text is empty"
        for row in rows.itertuples()
        if row.status == "error" or not row.text
    }
    before = sent(run, rows) if run.scorer.scoring.context == "sent" else list(rows["prompt"])
    texts = [
        Text(row.doc_id, prompt, row.text, row.sample)
        for row, prompt in zip(rows.itertuples(), before, strict=True)
    ]
    texts = _with_words(run, [each for each in texts if each.key not in not_scored])
    return rows, texts, not_scored


def _import(run: Run, rows: pd.DataFrame, made: store.Record) -> None:
    """Write both files from the surprisals that the study imports."""
    place = (run.scorer_name, run.dataset_name, run.source_name)
    tables, not_scored = imported.tokens(run, rows, SCHEMA)
    listed = listed_in_record({(doc_id, 0): why for doc_id, why in not_scored.items()})
    found = {"not_scored": listed, "why_no_words": imported.NO_WORDS}
    store.write(paths.words(*place), WORD_SCHEMA.empty_table(), WORD_SCHEMA, made)
    store.write_stream(paths.surprisals(*place), tables, SCHEMA, {**made, store.MEASURED: found})


def read_tokens(run: Run) -> pd.DataFrame:
    """The rows of `SCHEMA` of the run's source."""
    path = paths.surprisals(run.scorer_name, run.dataset_name, run.source_name)
    return store.read(path, command("02_surprisal", run), schema=SCHEMA)


def _score_in_parts(run: Run, texts: Sequence[Text], tokens: Parts, words: Parts) -> tuple[int, float]:
    """Score the parts that are not there yet; how many tokens that was, and the seconds it took."""
    parts = list(_parts(texts, tokens.size))
    # A run may have been stopped between the two files.
    words_there = not run.regenerate and store.is_complete(words.path, words.made)
    missing = [n for n in range(len(parts)) if tokens.to_make(n) or (not words_there and words.to_make(n))]
    count, seconds = 0, 0.0
    if missing:
        with agreed.upon(tokens.folder / "choices.json"):
            deviation = _deviation(run, texts) if missing[0] == 0 else None
            model = open_scoring_model(run.scorer.weights)
        how = described(model, run.scorer.scoring)
        began = perf_counter()
        with _progress(sum(_size(parts[number]) for number in missing)) as progress:
            for number in missing:
                part = score_rows(model, run.scorer.scoring, parts[number])
                found = {**how, "not_scored": listed_in_record(part.not_scored)}
                if number == 0 and deviation:
                    found["deviation"] = deviation
                words.write(number, part.words)
                tokens.write(number, part.tokens, found)
                count += len(part.tokens)
                progress.set_postfix_str(f"{count / (perf_counter() - began):,.0f} tokens/s", refresh=False)
                progress.update(_size(parts[number]))
        seconds = perf_counter() - began
    if tokens.shard is not None:
        return count, seconds
    measured: dict[str, Any] = {}
    for number in range(len(parts)):
        found = tokens.measured(number)
        measured |= {**found, "not_scored": measured.get("not_scored", []) + found["not_scored"]}
    if missing or not words_there:
        words.finish(len(parts))
    else:
        words.remove()  # a run that was stopped may have left some beside the whole file
    tokens.finish(len(parts), measured)
    return count, seconds


def _progress(characters: int) -> Bar:
    line = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}"
    return Bar(total=characters, desc="scoring", ascii=True, bar_format=line)


def _size(texts: Sequence[Text]) -> int:
    return sum(len(text.prompt) + len(text.text) for text in texts)


def _deviation(run: Run, texts: Sequence[Text]) -> dict[str, Any] | None:
    """How far the scorer's dtype takes surprisal from float32, in bits, on the first few texts."""
    declared = run.scorer.weights
    exact = engine_of(declared).exact(declared)
    if exact is None:
        return None
    sample = texts[:TEXTS_FOR_DEVIATION]
    tables = []
    for which in (declared, exact):
        model = open_scoring_model(which)
        if 4 * (model.parameters or 0) > machine.memory() * machine.MEGABYTE:
            return {"not_measured": "float32 does not fit into memory"}
        scored = score_rows(model, run.scorer.scoring, sample)
        if scored.not_scored:
            return {"not_measured": f"{engine_of(which).name}: {next(iter(scored.not_scored.values()))}"}
        tables.append(scored.tokens.select(["token", "surprisal"]).to_pandas())
        del model
        gc.collect()
    found, expected = tables
    if not found["token"].equals(expected["token"]):
        return {"not_measured": "the two make other tokens of a text"}
    apart = found["surprisal"] - expected["surprisal"]
    return {
        "texts": len(sample),
        "tokens": len(apart),
        "mean_absolute": float(apart.abs().mean()),
        "largest": float(apart.abs().max()),
        "mean": float(apart.mean()),
    }


def _parts(texts: Sequence[Text], characters: int) -> Iterator[list[Text]]:
    """Consecutive texts of about so many `characters`: what one interruption can cost."""
    return batches(texts, lambda text: _size([text]), characters)


def _part(run: Run) -> int:
    """Characters of a part, as many as fill a batch where the scorer runs."""
    return CHARACTERS_PER_PART * engine_of(run.scorer.weights).fills(run.scorer.weights)


def lists(run: Run) -> dict[str, str]:
    """A hash of the words that the dataset brings for the run's texts, if it brings any."""
    declared = word_lists.of(run.dataset)
    return {"words": word_lists.identity(declared)} if declared and run.source.text_class == "human" else {}


def _record(run: Run) -> store.Record:
    texts = paths.texts(run.dataset_name, run.source_name)
    if run.study.imported:
        return store.record(
            "02_surprisal",
            parameters={"scorer": run.scorer_name, "import": run.study.imported.model_dump(exclude={"root"})},
            inputs={"texts": store.file_hash(texts), "imported": imported.identity(run)},
            packages=(),
            units=UNITS,
            code=code(run),
        )
    declared = run.scorer.weights
    scoring = run.scorer.scoring.model_dump()
    return store.record(
        "02_surprisal",
        parameters={"scorer": run.scorer_name, "weights": deciding(declared), "scoring": scoring},
        inputs={"texts": store.file_hash(texts), "weights": identity(declared)} | lists(run),
        packages=engine_of(declared).packages(declared, reading=True),
        units=UNITS,
        code=code(run),
    )


def code(run: Run) -> tuple[str, ...]:
    """The modules that, with what they import, decide the surprisals of `run`."""
    if run.study.imported:
        return ("lib.datasets.imported",)
    return ("lib.surprisal.scoring", engine_of(run.scorer.weights).reading_module)
