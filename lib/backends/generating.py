"""What a generating backend is, and how to open the one that a model's weights name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lib.errors import StudyError
from lib.params import Sampling, Transformers, Weights


@dataclass(frozen=True)
class Request:
    """One text to write. `seed` alone decides the draws, whatever else is written beside it."""

    prompt: str
    seed: int
    chat: bool = False
    system_prompt: str | None = None


@dataclass(frozen=True)
class Completion:
    """What came of a request.

    `text` is what follows the prompt, with its leading space; `sent` what the model was given in
    the end; `tokens` how many it wrote. `seconds` is the time of a request that ran on its own, and
    None where a batch shares its time. With an `error` there is no text.
    """

    text: str
    sent: str
    tokens: int
    finish_reason: Literal["stop", "length"] | None
    seconds: float | None = None
    retries: int = 0
    error: str | None = None


class Generator(Protocol):
    """A model that writes texts. `at_once` is how many requests it takes well in one call."""

    at_once: int

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """A completion per request, in their order. Raises StudyError where none can be made."""
        ...


def open_generator(weights: Weights) -> Generator:
    """The model behind `weights`, ready to write. Raises StudyError if it cannot be opened."""
    match weights:
        case Transformers():
            from lib.backends.transformers_generating import TransformersGenerator

            return TransformersGenerator(weights)
        case _:
            raise StudyError(
                f"The backend {weights.backend!r} is declared but cannot write yet; use a model with "
                f"`backend: transformers`, or put its texts into `data/texts` and begin with step 02."
            )
