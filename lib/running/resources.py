"""What a job needs of a machine: processors, memory, GPUs."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from lib import paths
from lib.backends import vllm_server
from lib.backends.engines import engine_of
from lib.backends.llama_cpp_model import offloads
from lib.errors import StudyError
from lib.machine import MEGABYTE
from lib.params import LlamaCpp, Model, Source, Study, Transformers, Vllm, Weights, load_scorer, load_source

LIBRARIES = 1_000  # MB that Python, torch and the tables take before a model is loaded
READING = 800  # MB of a job that opens no model
KB_PER_TEXT = 4  # of what steps 03 and 04 hold of each text
BATCH = 600  # MB of activations and logits of a batch, measured with the demo's models
SPARE = 1.2  # of the weights: what is packed or converted stands beside them for a while
BYTES_OF_DTYPE = {"float32": 4, "bfloat16": 2, "float16": 2}
BYTES_OF_QUANTISED = {"8bit": 1, "4bit": 0.5}
ALL = 1_000  # GPUs: as many as there are
CACHE = 4_300  # MB of keys and values that llama.cpp keeps of the texts that it writes at once, at most
CACHE_OF_WEIGHTS = 10  # and times its weights, for small models
UNKNOWN = 2_000  # MB of weights that nobody has fetched yet
MB_PER_THREAD = 256  # of weights; a smaller model is no faster on two processors, two of them are


def memory_of(weights: Weights) -> int:
    """MB that a process takes which writes or scores with `weights`, as far as their files tell."""
    if engine_of(weights).remote:
        return LIBRARIES // 2
    if isinstance(weights, Vllm):
        return 3 * LIBRARIES + 1_000 * vllm_server.cache_of_processors() + round(SPARE * size_of(weights))
    cache = min(CACHE, CACHE_OF_WEIGHTS * size_of(weights)) if isinstance(weights, LlamaCpp) else 0
    return LIBRARIES + BATCH + cache + round(SPARE * size_of(weights))


def threads_of(weights: Weights, most: int) -> int:
    """How many processors, `most` at most, a model of these `weights` makes use of."""
    if engine_of(weights).remote:
        return 1
    return max(1, min(most, size_of(weights) // MB_PER_THREAD))


def gpus_of(weights: Weights) -> int:
    """How many GPUs the engine of `weights` uses, where there are any."""
    match weights:
        case Transformers(device_map="auto"):
            return ALL
        case Transformers(device="auto" | "cuda"):
            return 1
        case LlamaCpp():
            return int(weights.gpu_layers != 0 and offloads())
        case Vllm():
            return weights.tensor_parallel
    return 0


def served(study: Study) -> dict[Weights, int]:
    """The weights of `study` that vLLM serves, writers before scorers; the first has the highest rank."""
    declared = [load_source(name) for name in study.sources] + [load_scorer(name) for name in study.scorers]
    weights = [getattr(each, "weights", None) for each in declared]
    distinct = dict.fromkeys(each for each in weights if isinstance(each, Vllm))
    return {each: len(distinct) - number for number, each in enumerate(distinct)}


def reading(study: Study, sources: Iterable[str]) -> int:
    """MB that a job takes which reads the measures of all texts of `sources`, in all datasets."""
    if study.imported:
        return READING
    texts = sum(texts_of(study, load_source(name)) for name in sources)
    return READING + KB_PER_TEXT * texts * len(study.datasets) // 1000


def texts_of(study: Study, source: Source) -> int:
    """How many texts of a source there will be of a dataset, at most: people have one of each opening."""
    if isinstance(source, Model):
        return source.sampling.generate * (study.samples if source.sampling.temperature else 1)
    declared = [load_source(name) for name in study.sources]
    openings = (each.sampling.generate for each in declared if isinstance(each, Model))
    return source.generate or max(openings, default=0)


def unmet(study: Study, shards: int, there: int) -> Iterator[str]:
    """What of `study` cannot run in so many `shards`, or where one job has at most `there` GPUs."""
    sources = {name: load_source(name) for name in study.sources}
    scorers = {name: load_scorer(name) for name in study.scorers}
    has = f"{there or 'no'} GPU{'s' * (there > 1)}"
    for name, declared in (sources | scorers).items():
        match getattr(declared, "weights", None):
            case Transformers(device="cuda") if not there:
                yield f"{name!r} asks for a GPU, and a job has {has} here; take `device: cuda` out of it."
            case Vllm(tensor_parallel=wanted) if wanted > max(there, 1):
                yield f"{name!r} asks for {wanted} GPUs, and a job has {has} here; lower `tensor_parallel`."
    for name, source in sources.items():
        if isinstance(source, Model):
            most = texts_of(study, source)
            if shards > most:
                yield f"{name!r} writes {most} texts, which {shards} shards cannot share; give fewer."


def size_of(weights: Weights) -> int:
    """MB of `weights` in memory: of their files, at the precision in which they are loaded."""
    match weights:
        case LlamaCpp():
            file = paths.resolve(weights.file)
            return file.stat().st_size // MEGABYTE if weights.repo is None and file.is_file() else UNKNOWN
        case Transformers():
            return _size_loaded(weights)
        case Vllm():
            return _size_loaded(vllm_server.plain(weights).model_copy(update={"dtype": weights.dtype}))
    return UNKNOWN


def _size_loaded(weights: Transformers) -> int:
    folder = paths.resolve(weights.model)
    if folder.suffix == ".gguf" and folder.is_file():
        return round(dequantised(folder) * _bytes_each(weights)) // MEGABYTE
    files = list(folder.glob("*.safetensors")) if folder.is_dir() else _cached(weights)
    if not files:
        return UNKNOWN
    half = any(b'"BF16"' in _head(file) or b'"F16"' in _head(file) for file in files)
    bytes_ = sum(file.stat().st_size for file in files)
    return round(bytes_ // (2 if half else 4) * _bytes_each(weights)) // MEGABYTE


@cache
def dequantised(file: Path) -> int:
    """How many numbers the weights of a GGUF `file` are. Raises StudyError for another kind of file."""
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)
    except (ValueError, IndexError, KeyError) as error:
        raise StudyError(
            f"{paths.shown(file)} is not a whole GGUF file ({error}); fetch it again."
        ) from error


def _bytes_each(weights: Transformers) -> float:
    return BYTES_OF_QUANTISED[weights.quantization] if weights.quantization else BYTES_OF_DTYPE[weights.dtype]


def _head(file: Path) -> bytes:
    """The header of a safetensors file, as far as it stands in the first 64 kB."""
    with file.open("rb") as stream:
        return stream.read(1 << 16)


def _cached(weights: Transformers) -> list[Path]:
    """The weights of a model of the hub as far as they are in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{weights.model.replace('/', '--')}" / "snapshots"
    folders = sorted(snapshots.glob(weights.revision or "*"), key=lambda folder: folder.stat().st_mtime)
    return list(folders[-1].glob("*.safetensors")) if folders else []
