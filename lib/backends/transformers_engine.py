"""Weights that the library transformers loads: a folder, a name on the hub, or a GGUF file."""

from lib import machine
from lib.backends import sizes
from lib.backends import weights as files
from lib.backends.engine import Engine, Needs
from lib.backends.generating import Generator
from lib.backends.scoring import Reader
from lib.params import Transformers


def _writer(weights: Transformers) -> Generator:
    from lib.backends.transformers_generating import TransformersGenerator

    return TransformersGenerator(weights)


def _reader(weights: Transformers) -> Reader:
    from lib.backends.transformers_scoring import TransformersScoringModel

    return TransformersScoringModel(weights)


def _exact(weights: Transformers) -> Transformers | None:
    if weights.dtype == "float32" and weights.quantization is None:
        return None
    return weights.model_copy(update={"dtype": "float32", "quantization": None})


def _besides(weights: Transformers) -> tuple[str, ...]:
    found = []
    if weights.adapter is not None:
        found.append("peft")
    if files.gguf_of(weights):
        found.append("gguf")
    method = "bitsandbytes" if weights.quantization else files.quantised_as(weights)
    if method in files.NEEDS:
        found.append(files.distribution(files.NEEDS[method][-1]))
    return tuple(found)


def _fills(weights: Transformers) -> int:
    return 8 if machine.gpus() and weights.device in ("auto", "cuda") else 1


ALL = 1_000  # GPUs: as many as there are


def _needs(weights: Transformers) -> Needs:
    return Needs(
        sizes.of_transformers(weights),
        gpus=ALL if weights.device_map == "auto" else int(weights.device in ("auto", "cuda")),
        least_gpus=int(weights.device == "cuda"),
        otherwise="take `device: cuda` out of it",
    )


ENGINE = Engine(
    declaration=Transformers,
    identity=files.of_transformers,
    writer=_writer,
    reader=_reader,
    exact=_exact,
    reading_module="lib.backends.transformers_scoring",
    writing_packages=("torch", "transformers", "tokenizers"),
    reading_packages=("torch", "transformers", "tokenizers"),
    besides=_besides,
    fills=_fills,
    needs=_needs,
)
