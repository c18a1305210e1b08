"""The engines that there are, one entry each, and how the steps reach the one that weights name."""

from typing import Any

from lib.backends import llama_cpp_engine, openai_engine, transformers_engine, vllm_engine
from lib.backends.engine import Engine
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.errors import StudyError
from lib.params.declared import Declared
from lib.params.sources import LATER, declare_weights

ENGINES: dict[str, Engine] = {}


def add(engine: Engine) -> None:
    """Make `engine` known to the params files and to the steps."""
    ENGINES[engine.name] = engine
    declare_weights(engine.declaration)


for _module in (transformers_engine, llama_cpp_engine, openai_engine, vllm_engine):
    add(_module.ENGINE)


def engine_of(weights: Declared) -> Engine:
    """The engine of declared weights."""
    return ENGINES[weights.backend]  # type: ignore[attr-defined]


def open_generator(weights: Declared) -> Generator:
    """The model behind `weights`, ready to write. Raises StudyError if it cannot be opened or write."""
    engine = engine_of(weights)
    if engine.writer is None:
        raise StudyError(f"Models of `backend: {engine.name}` only read; name another to write texts.")
    return engine.writer(weights)


def open_scoring_model(weights: Declared) -> Reader:
    """The scorer behind `weights`. Raises StudyError if it cannot be opened or cannot score."""
    engine = engine_of(weights)
    if engine.reader is None:
        raise StudyError(f"Models of `backend: {engine.name}` only write; name another scorer.")
    return engine.reader(weights)


def identity(weights: Declared) -> str:
    """A content hash of local weights, the commit of weights on the hub, or the server's name.

    Raises StudyError if the weights are not there.
    """
    return engine_of(weights).identity(weights)


def deciding(weights: Declared) -> dict[str, Any]:
    """The fields of `weights` that decide what the model writes and reads, not how it is asked.

    One that was left out decides nothing, so that a new field makes nothing anew that is there.
    """
    fields = type(weights).model_fields
    later = {name for name, field in fields.items() if field.json_schema_extra == LATER}
    unset = {name for name in later if getattr(weights, name) == fields[name].default}
    return weights.model_dump(exclude={*engine_of(weights).asked_only, *unset})
