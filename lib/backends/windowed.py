"""Reading by a model that sees tokens: BOS, the prompt's, the text's, in windows where they are many.

Prompt and text are tokenised apart, so that no token straddles the border and the text's tokens tile the
text. BOS stands there once; the further windows of a long text begin in its midst.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.backends.prompts import Sent
from lib.backends.scoring import Encoding, Reading, Request, Scores
from lib.backends.windows import windows
from lib.errors import StudyError
from lib.params import Scoring

NO_MEMORY = "one window of it does not fit into memory; set `scoring: window` lower"
NO_TOKEN = "the scorer's tokenizer makes no token of it"
UNKNOWN = "the scorer's tokenizer makes a token of it that its model does not have"


class WindowedReader(ABC):
    """`lib.backends.scoring.Reader` by `encode` and `score`. `word_begins` is None without words."""

    bos: int
    parameters: int | None
    vocabulary: int  # tokens; the tokenizer may have more
    context_length: int | None  # tokens; None if the model sets no bound
    word_begins: np.ndarray | None  # [vocabulary] bool: tokens with leading white space
    why_no_words: str | None  # a sentence, where `word_begins` is None

    @abstractmethod
    def encode(self, texts: Sequence[str], after: Sequence[str] | None = None) -> list[Encoding]:
        """The tokens of each text without BOS, special ones that occur in it taken literally.

        Where `after` has a prompt, the text's tokens are those that it has behind one: SentencePiece puts a
        blank before a text at its beginning, and not there.
        """

    @abstractmethod
    def ids(self, sent: Sent) -> list[int]:
        """The tokens of what a model was sent, without a BOS of this one's."""

    @abstractmethod
    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores | None]:
        """The scores of each request, in their order; None where memory did not suffice for one."""

    def read(self, texts: Sequence[tuple[str, str]], scoring: Scoring) -> list[Reading | str]:
        """See `Reader.read`."""
        window, stride = self.window(scoring)
        before = [prompt for prompt, _ in texts]
        encodings = self.encode([text for _, text in texts], before)
        prompts = [
            np.asarray(self.ids(prompt), dtype=np.int64) if isinstance(prompt, Sent) else encoded.ids
            for prompt, encoded in zip(before, self.encode(before), strict=True)
        ]
        requests: list[Request] = []
        contexts: list[list[np.ndarray]] = []
        for prompt, encoding in zip(prompts, encodings, strict=True):
            begun = prompt[1:] if prompt[:1].tolist() == [self.bos] else prompt
            ids = np.concatenate([[self.bos], begun, encoding.ids]).astype(np.int64)
            known = ids.max() < self.vocabulary
            reads = list(windows(len(ids), 1 + len(begun), window, stride)) if known else []
            requests += [Request(ids[read.start : read.end], read.scored - read.start) for read in reads]
            contexts.append([np.arange(read.scored, read.end) - read.start for read in reads])
        scores = iter(self.score(requests, entropy=scoring.entropy))
        return [
            self._joined(encoding, context, [next(scores) for _ in context])
            for encoding, context in zip(encodings, contexts, strict=True)
        ]

    def _joined(
        self, encoding: Encoding, context: Sequence[np.ndarray], scores: Sequence[Scores | None]
    ) -> Reading | str:
        """The windows of one text as one reading."""
        if not len(encoding.ids):
            return NO_TOKEN
        if not context:
            return UNKNOWN
        own = [score for score in scores if score is not None]
        if len(own) < len(context):
            return NO_MEMORY
        terms = [score.boundary for score in own if score.boundary is not None]
        entropy = [score.entropy for score in own if score.entropy is not None]
        return Reading(
            starts=encoding.starts,
            ends=encoding.ends,
            surprisal=np.concatenate([score.surprisal for score in own]),
            context=np.concatenate(context),
            ids=encoding.ids,
            rank=np.concatenate([score.rank for score in own]),
            entropy=np.concatenate(entropy) if entropy else None,
            boundary=np.concatenate([*(term[:-1] for term in terms), terms[-1][-1:]]) if terms else None,
            begins_word=self.word_begins is not None and bool(self.word_begins[encoding.ids[0]]),
        )

    def described(self, scoring: Scoring) -> dict[str, Any]:
        """See `Reader.described`: BOS, window and stride."""
        window, stride = self.window(scoring)
        return {"bos": self.bos, "window": window, "stride": stride}

    def window(self, scoring: Scoring) -> tuple[int, int]:
        """Window and stride in tokens. Raises StudyError if the model cannot be read so."""
        window = scoring.window or self.context_length
        if window is None:
            raise StudyError(
                "The scorer's config.json does not say how many positions it has; set `scoring: window`."
            )
        if self.context_length is not None and window > self.context_length:
            raise StudyError(
                f"`scoring: window` is {window}, but the scorer has {self.context_length} positions; set it "
                f"to {self.context_length} or less."
            )
        stride = scoring.stride or window // 2
        if stride >= window:
            raise StudyError(
                f"`scoring: stride` is {stride}, but must be below the window of {window} tokens, so that "
                f"windows overlap."
            )
        return window, stride
