"""Where weights lie and which ones they are, without loading them."""

import json
from pathlib import Path

from lib import paths, store
from lib.errors import StudyError
from lib.params import LlamaCpp, Transformers

# What of a model's folder decides its texts and scores; the card, say, does not.
DECISIVE = {".safetensors", ".json", ".jinja", ".model", ".txt"}

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")  # what peft saves


def of_transformers(weights: Transformers) -> str:
    """A content hash of local weights, or the commit of weights on the hub; then the adapter's, if any.

    Raises StudyError if the weights are not there.
    """
    if weights.adapter is not None:
        alone = weights.model_copy(update={"adapter": None})
        return f"{of_transformers(alone)} with the adapter {_of_adapter(weights)}"
    if file := gguf_of(weights):
        return store.file_hash(file)
    if folder := local_folder(weights):
        return _folder_hash(folder)
    return commit_of(weights)


def commit_of(weights: Transformers) -> str:
    """The commit of a model on the hub. Raises StudyError if it is not to be had."""
    return _hub_commit(weights.model, "config.json", weights.revision)


def of_llama_cpp(weights: LlamaCpp) -> str:
    """As `of_transformers`."""
    if weights.repo is None:
        return store.file_hash(gguf_file(weights))
    return _hub_commit(weights.repo, weights.file, weights.revision)


def config_file(weights: Transformers) -> Path:
    """The config.json of a model in a folder or on the hub. Raises StudyError if it is not to be had."""
    if folder := local_folder(weights):
        return folder / "config.json"
    return _hub_file(weights.model, "config.json", weights.revision)


# The modules by which transformers reads checkpoints that are quantised already, by the `quant_method` that
# their config.json names; the last one multiplies.
NEEDS = {
    "bitsandbytes": ("bitsandbytes",),
    "gptq": ("optimum", "gptqmodel"),
    "awq": ("gptqmodel",),
    "compressed-tensors": ("compressed_tensors",),
    "torchao": ("torchao",),
    "quanto": ("optimum.quanto",),
    "hqq": ("hqq",),
    "aqlm": ("aqlm",),
    "auto-round": ("auto_round",),
}


def distribution(module: str) -> str:
    """The package that has one of the modules in `NEEDS`."""
    return module.replace(".", "-").replace("_", "-")


def quantised_as(weights: Transformers) -> str | None:
    """How a checkpoint's config.json says that it is quantised: gptq, awq, fp8, …; None for plain ones."""
    if weights.model.endswith(".gguf"):
        return None
    try:
        declared = json.loads(config_file(weights).read_bytes())
    except (ValueError, OSError):
        return None  # what is wrong with it is said elsewhere
    found = declared.get("quantization_config") if isinstance(declared, dict) else None
    return str(found.get("quant_method", "without a name")) if isinstance(found, dict) else None


def _of_adapter(weights: Transformers) -> str:
    files = adapter_files(weights)
    if _adapter_folder(weights) is None:
        return files[0].parent.name  # a cached file lies below its commit
    return store.digest(f"{file.name} {store.file_hash(file)}" for file in files)


def adapter_files(weights: Transformers) -> tuple[Path, Path]:
    """The declaration and the weights of the adapter of `weights`, fetched from the hub if they are there.

    Raises StudyError if they are missing, or the weights are a pickle.
    """
    folder = _adapter_folder(weights)
    if folder is None:
        config, tensors = (
            _hub_file(str(weights.adapter), name, weights.adapter_revision) for name in ADAPTER
        )
        return config, tensors
    config, tensors = (folder / name for name in ADAPTER)
    if not config.is_file():
        raise StudyError(f"There is no adapter in {paths.shown(folder)}; {_way_to(folder)}")
    if not tensors.is_file():
        if pickled := next((file.name for file in folder.glob("*.bin")), None):
            raise _pickle(folder, pickled)
        raise StudyError(
            f"The weights of the adapter in {paths.shown(folder)} are missing; {_way_to(folder)}"
        )
    return config, tensors


def _adapter_folder(weights: Transformers) -> Path | None:
    """The adapter's folder, or None for one on the hub."""
    name = str(weights.adapter)
    folder = paths.resolve(name)
    return None if not folder.exists() and _may_be_on_the_hub(name) else folder


def _may_be_on_the_hub(name: str) -> bool:
    return name.count("/") <= 1 and not name.startswith((".", "~"))


def _folder_hash(folder: Path) -> str:
    decisive = (file for file in sorted(folder.iterdir()) if file.suffix in DECISIVE and file.is_file())
    return store.digest(f"{file.name} {store.file_hash(file)}" for file in decisive)


def gguf_of(weights: Transformers) -> Path | None:
    """The GGUF file that `weights` name in place of a folder, or None. Raises StudyError if it is missing."""
    return _local_file(weights.model) if weights.model.endswith(".gguf") else None


def local_folder(weights: Transformers) -> Path | None:
    """The folder of local weights, or None for a model of the Hugging Face hub.

    Raises StudyError for a folder that is missing, holds no safetensors, or an adapter.
    """
    folder = paths.resolve(weights.model)
    if not folder.exists() and _may_be_on_the_hub(weights.model):
        return None
    if (folder / ADAPTER[0]).exists():
        raise _is_an_adapter(weights.model, folder)
    if not (folder / "config.json").exists():
        raise StudyError(f"There is no model in {paths.shown(folder)}; {_way_to(folder)}")
    if not any(folder.glob("*.safetensors")):
        pickled = next((file.name for file in folder.glob("*.bin")), None)
        if pickled:
            raise _pickle(folder, pickled)
        raise StudyError(f"The weights in {paths.shown(folder)} are missing; {_way_to(folder)}")
    return folder


def _pickle(folder: Path, name: str) -> StudyError:
    return StudyError(
        f"{paths.shown(folder)} has its weights as a pickle ({name}), which can run code when loaded; "
        f"convert them to safetensors."
    )


def _is_an_adapter(name: str, folder: Path) -> StudyError:
    """What to write in place of `model: name`; transformers would look for the model itself, elsewhere."""
    try:
        declared = json.loads((folder / ADAPTER[0]).read_bytes())
        base = declared.get("base_model_name_or_path") if isinstance(declared, dict) else None
    except ValueError:
        base = None
    return StudyError(
        f"{paths.shown(folder)} holds an adapter, which is no model by itself; write `model: "
        f"{base or 'the model that it was trained on'}` and `adapter: {name}`."
    )


def gguf_file(weights: LlamaCpp) -> Path:
    """The GGUF file of `weights`, fetched from the hub if it is there. Raises StudyError if not."""
    if weights.repo is not None:
        return _hub_file(weights.repo, weights.file, weights.revision)
    return _local_file(weights.file)


def _local_file(name: str) -> Path:
    file = paths.resolve(name)
    if not file.is_file():
        raise StudyError(f"There is no {paths.shown(file)}; {_way_to(file)}")
    return file


def _way_to(path: Path) -> str:
    if path.is_relative_to(paths.root() / "data" / "models"):
        return (
            "the demo models come with the repository (`git checkout -- data/models`) or from `make models`."
        )
    return "put the weights there or correct the path in the params file."


def _hub_commit(repo: str, file: str, revision: str | None) -> str:
    """The commit that `revision` of `repo` stands for (a cached file lies below its commit)."""
    return _hub_file(repo, file, revision).parents[file.count("/")].name


def _hub_file(repo: str, file: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (
            str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        )
        raise StudyError(
            f"{file} of the hub's {repo!r} is neither in the cache nor to be had ({reason}); connect to "
            f"the network, sign in with `hf auth login` if the model asks for it, or correct the name."
        ) from error
