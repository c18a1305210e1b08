"""A whole engine in one module, which tests add to those that there are."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lib.backends.engine import Engine
from lib.backends.generating import UNWATCHED, Completion, Request, Watch
from lib.backends.scoring import Reading
from lib.params import Sampling, Scoring
from lib.params.declared import Declared


class Toy(Declared):
    """Weights that are a word. Where it is `varied`, texts differ in length and letters in bits."""

    backend: Literal["toy"]
    word: str
    varied: bool = False


class ToyModel:
    """Writes its word again and again, and reads letters, each of one bit unless they are varied."""

    at_once = 4
    parameters: int | None = None
    why_no_words: str | None = "Letters are no words."

    def __init__(self, weights: Toy) -> None:
        self.word, self.varied = weights.word, weights.varied

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        found = []
        for number, request in enumerate(requests):
            words = 20 + request.seed % 20 if self.varied else sampling.max_tokens
            found.append(Completion(f" {self.word}" * words, request.prompt, words, "length"))
            watch.text(number, found[-1])
        return found

    def read(self, texts: Sequence[tuple[str, str]], scoring: Scoring) -> list[Reading | str]:
        return [self._reading(prompt, text) for prompt, text in texts]

    def _reading(self, prompt: str, text: str) -> Reading:
        places = np.arange(len(text))
        bits = np.array([1.0 + self.varied * (ord(letter) % 7) for letter in text])
        return Reading(places, places + 1, bits, places + len(prompt))

    def described(self, scoring: Scoring) -> dict[str, Any]:
        return {"read": "letter by letter"}


ENGINE = Engine(
    declaration=Toy,
    identity=lambda weights: weights.word,
    writer=ToyModel,
    reader=ToyModel,
    exact=lambda weights: None,
    reading_module="lib.backends.scoring",
)
