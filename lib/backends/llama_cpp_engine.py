"""A GGUF file in llama.cpp."""

from lib.backends import weights as files
from lib.backends.engine import Engine
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params import LlamaCpp, Transformers


def _writer(weights: LlamaCpp) -> Generator:
    from lib.backends.llama_cpp_generating import LlamaCppGenerator

    return LlamaCppGenerator(weights)


def _reader(weights: LlamaCpp) -> Reader:
    from lib.backends.llama_cpp_scoring import LlamaCppScoringModel

    return LlamaCppScoringModel(weights)


def _exact(weights: LlamaCpp) -> Transformers | None:
    return Transformers(backend="transformers", model=weights.reference) if weights.reference else None


ENGINE = Engine(
    declaration=LlamaCpp,
    identity=files.of_llama_cpp,
    writer=_writer,
    reader=_reader,
    exact=_exact,
    reading_module="lib.backends.llama_cpp_scoring",
    writing_packages=("torch", "llama-cpp-python"),  # torch draws
    reading_packages=("torch", "llama-cpp-python"),
)
