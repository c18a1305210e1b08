"""A model behind an OpenAI-compatible server."""

from lib.backends.engine import TEXTS_PER_PART, Engine
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params import OpenAI, Transformers


def _writer(weights: OpenAI) -> Generator:
    from lib.backends.openai_generating import ServerGenerator

    return ServerGenerator(weights)


def _reader(weights: OpenAI) -> Reader:
    from lib.backends.openai_scoring import ServerScoringModel

    return ServerScoringModel(weights)


def _exact(weights: OpenAI) -> Transformers | None:
    return Transformers(backend="transformers", model=weights.reference) if weights.reference else None


ENGINE = Engine(
    declaration=OpenAI,
    identity=lambda weights: f"{weights.model} at {weights.base_url}",
    writer=_writer,
    reader=_reader,
    exact=_exact,
    reading_module="lib.backends.openai_scoring",  # the server writes and scores
    asked_only=frozenset({"concurrency", "timeout", "api_key_variable", "stream"}),
    remote=True,
    fills=lambda weights: -(-weights.concurrency // TEXTS_PER_PART),
)
