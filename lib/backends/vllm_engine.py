"""A model that vLLM serves, by a server that the study starts and ends itself."""

from lib.backends import sizes, vllm_server
from lib.backends import weights as files
from lib.backends.engine import TEXTS_PER_PART, Engine, Needs
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params import Vllm

SERVER = 2_000  # MB that it takes before a model is loaded


def _writer(weights: Vllm) -> Generator:
    from lib.backends.vllm_generating import VllmGenerator

    return VllmGenerator(weights)


def _reader(weights: Vllm) -> Reader:
    from lib.backends.vllm_scoring import VllmScoringModel

    return VllmScoringModel(weights)


def _identity(weights: Vllm) -> str:
    return f"{files.of_transformers(vllm_server.plain(weights))} by {vllm_server.version()}"


def _needs(weights: Vllm) -> Needs:
    loaded = vllm_server.plain(weights).model_copy(update={"dtype": weights.dtype})
    several = weights.tensor_parallel
    return Needs(
        sizes.of_transformers(loaded),
        besides=SERVER + 1_000 * vllm_server.cache_of_processors(),
        gpus=several,
        least_gpus=several if several > 1 else 0,
        otherwise="lower `tensor_parallel`",
    )


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
    needs=_needs,
    served=True,
    fills=lambda weights: -(-weights.concurrency // TEXTS_PER_PART),
)
