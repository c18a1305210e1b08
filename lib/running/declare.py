"""Write the params files for one's own texts or model: `make source NAME=mine FOLDER=~/my-texts`.

python -m lib.running.declare mine --folder ~/my-texts        a dataset, and a study of it
python -m lib.running.declare my-model --model ~/models/mine  a model: a folder, a hub name, a .gguf file,
                                                      or the URL of a server
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from lib import paths, store
from lib.backends.sizes import dequantised
from lib.backends.transformers_gguf import GGUFFile
from lib.commands import a_command
from lib.datasets.folder import text_files
from lib.errors import StudyError
from lib.machine import MEGABYTE, memory
from lib.params import load_source, validated
from lib.params.corpora import Dataset
from lib.params.sources import AnySource
from lib.params.studies import Study

FLOAT32 = 4  # bytes
SHARE_FOR_WEIGHTS = 0.5  # of the memory: what is read, packed and cached stands beside the weights
GGUF_HINT = (
    "Where transformers knows the file and it fits into memory, it is read dequantised; for llama.cpp "
    "(`make extras`) write `weights: {{backend: llama_cpp, file: {file}}}` there."
)

SOURCES = ("human", "tiny-base", "tiny-rlhf")
# What a new study claims until its author says otherwise: what preference tuning is said to do.
HYPOTHESES = {
    "rlhf-and-people": {
        "sentence": "Preference-tuned models' texts are more uniform than people's.",
        "metric": "uid_variance",
        "aspect": "level",
        "of": "rlhf",
        "against": "human",
        "expect": "less",
        "margin": 0.3,
    },
    "spread-rlhf-and-base": {
        "sentence": "Preference-tuned models' texts differ less in uniformity from document to document "
        "than those of their base models.",
        "metric": "uid_variance",
        "aspect": "spread",
        "of": "rlhf",
        "against": "own base",
        "expect": "less",
        "margin": 0.3,
    },
}


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--folder", help="a folder of .txt files")
    which.add_argument("--model", help="a folder, a hub name, a .gguf file, or a server's URL")
    parser.add_argument("--class", dest="text_class", default="base", choices=("base", "instruct", "rlhf"))
    parser.add_argument("--served", help="the model's name on its server")
    arguments = parser.parse_args()
    if arguments.folder:
        dataset, study = declare_folder(arguments.name, arguments.folder)
        print(f"Wrote {paths.shown(dataset)} and {paths.shown(study)}.")
        print(f"Now: make study STUDY={arguments.name}")
    else:
        file = declare_model(arguments.name, arguments.model, arguments.text_class, arguments.served)
        print(f"Wrote {paths.shown(file)}. Add {arguments.name!r} to the `sources` of a study.")
        if arguments.model.endswith(".gguf"):
            print(GGUF_HINT.format(file=arguments.model))
    return 0


def declare_folder(name: str, folder: str) -> tuple[Path, Path]:
    """Write a dataset `name` of the texts in `folder`, and a study of that name; return both files.

    Raises StudyError if there are no texts, the name is no slug, or a file is there already.
    """
    text_files(paths.resolve(folder))
    for source in SOURCES:
        load_source(source)
    dataset = {"kind": "folder", "folder": folder}
    study = {
        "title": f"The texts of {name}",
        "sources": list(SOURCES),
        "datasets": [name],
        "scorers": ["tiny-scorer"],
        "hypotheses": HYPOTHESES,
        "comparisons": {name: {"metrics": ["mean_surprisal", "uid_variance", "uid_pairwise"]}},
    }
    files = paths.dataset_file(name), paths.study_file(name)
    _write(name, {files[0]: (Dataset, dataset), files[1]: (Study, study)})
    return files


def declare_model(name: str, model: str, text_class: str = "base", served: str | None = None) -> Path:
    """Write a model source `name`; return its file. Raises StudyError as `declare_folder`."""
    weights: dict[str, Any]
    if model.startswith(("http://", "https://")):
        weights = {"backend": "openai", "model": served or name, "base_url": model}
    elif model.endswith(".gguf"):
        weights = _of_gguf(model)
    else:
        weights = {"backend": "transformers", "model": model}
    content: dict[str, Any] = {"kind": "model", "class": text_class, "family": name, "weights": weights}
    if text_class != "base":
        content["chat"] = True
    file = paths.source_file(name)
    _write(name, {file: (AnySource, content)})
    return file


def _of_gguf(model: str) -> dict[str, Any]:
    """Weights of a GGUF file: by transformers, which needs no compiler, where that reads it and it fits.

    Raises StudyError for a file that is no GGUF file.
    """
    file = paths.resolve(model)
    fits = file.is_file() and FLOAT32 * dequantised(file) < memory() * MEGABYTE * SHARE_FOR_WEIGHTS
    if fits and GGUFFile(file).why_not is None:
        return {"backend": "transformers", "model": model}
    return {"backend": "llama_cpp", "file": model}


def _write(name: str, files: dict[Path, tuple[Any, dict[str, Any]]]) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.@-]*", name):
        raise StudyError(f"{name!r} cannot be a name here; use lower-case letters, digits, - and _.")
    for path, (kind, content) in files.items():
        if path.exists():
            raise StudyError(f"{paths.shown(path)} is there already; choose another name, or edit that file.")
        validated(TypeAdapter(kind), content, paths.shown(path))
    for path, (_, content) in files.items():
        store.write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


if __name__ == "__main__":
    sys.exit(main())
