"""A model that vLLM serves, by a server that the study starts and ends itself."""

from lib.backends import vllm_server
from lib.backends import weights as files
from lib.backends.engine import TEXTS_PER_PART, Engine
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params import Vllm


def _writer(weights: Vllm) -> Generator:
    from lib.backends.vllm_generating import VllmGenerator

    return VllmGenerator(weights)


def _reader(weights: Vllm) -> Reader:
    from lib.backends.vllm_scoring import VllmScoringModel

    return VllmScoringModel(weights)


def _identity(weights: Vllm) -> str:
    return f"{files.of_transformers(vllm_server.plain(weights))} by {vllm_server.version()}"


ENGINE = Engine(
    declaration=Vllm,
    identity=_identity,
    writer=_writer,
    reader=_reader,
    exact=vllm_server.plain,
    reading_module="lib.backends.vllm_scoring",
    writing_packages=("transformers", "tokenizers"),
    reading_packages=("transformers", "tokenizers"),
    asked_only=frozenset({"concurrency", "timeout", "tensor_parallel", "memory_share"}),
    fills=lambda weights: -(-weights.concurrency // TEXTS_PER_PART),
)
