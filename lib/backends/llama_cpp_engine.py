"""A GGUF file in llama.cpp."""

from lib.backends import sizes
from lib.backends import weights as files
from lib.backends.engine import Engine, Needs
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params import LlamaCpp, Transformers

CACHE = 4_300  # MB of keys and values of the texts that are written at once, at most
CACHE_OF_WEIGHTS = 10  # and times the weights, for small models


def _writer(weights: LlamaCpp) -> Generator:
    from lib.backends.llama_cpp_generating import LlamaCppGenerator

    return LlamaCppGenerator(weights)


def _reader(weights: LlamaCpp) -> Reader:
    from lib.backends.llama_cpp_scoring import LlamaCppScoringModel

    return LlamaCppScoringModel(weights)


def _exact(weights: LlamaCpp) -> Transformers | None:
    return Transformers(backend="transformers", model=weights.reference) if weights.reference else None


def _needs(weights: LlamaCpp) -> Needs:
    from lib.backends.llama_cpp_model import offloads

    size = sizes.of_llama_cpp(weights)
    gpus = int(weights.gpu_layers != 0 and offloads())
    return Needs(size, besides=min(CACHE, CACHE_OF_WEIGHTS * size), gpus=gpus)


ENGINE = Engine(
    declaration=LlamaCpp,
    identity=files.of_llama_cpp,
    writer=_writer,
    reader=_reader,
    exact=_exact,
    reading_module="lib.backends.llama_cpp_scoring",
    writing_packages=("torch", "llama-cpp-python"),  # torch draws
    reading_packages=("torch", "llama-cpp-python"),
    needs=_needs,
)
