"""A finished study as one archive for OSF or Zenodo, and what of an archive is still true here.

    python -m lib.running.archive make demo --text hash
    python -m lib.running.archive verify archives/demo.zip

The archive is an RO-Crate (https://w3id.org/ro/crate): what was declared and registered, the data
with the record in each file, reports, the paper, exact versions, a licence and a SHA-256 of every
file. `--text hash` puts a hash in place of each text that may not be passed on, and leaves out
tokens' and words' characters and the pages that show them; all numbers stay.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from rocrate.rocrate import ROCrate

import lib
from lib import paths, store
from lib.commands import a_command
from lib.datasets import repository
from lib.errors import StudyError
from lib.params import Study, load_study

CODE = Path(lib.__file__).parent
HASHED = ("text", "prompt", "title", "sent", "cut", "reasoning")  # as a whole: no text can be guessed from it
EMPTIED = ("token", "token_id", "word")  # one by one a hash of these would give the text away
METADATA = "ro-crate-metadata.json"


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="write archives/<study>.zip")
    make.add_argument("study")
    make.add_argument("--text", choices=("keep", "hash"), default="keep")
    check = commands.add_parser("verify", help="say whether an archive is whole, and how this place differs")
    check.add_argument("archive", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "make":
        made = archive(arguments.study, hashed=arguments.text == "hash")
        print(f"{os.path.relpath(made)}  {made.stat().st_size:,} bytes")
        return 0
    damaged, different = verify(arguments.archive)
    for line in damaged or ["Every file is as it was when the archive was made."]:
        print(line)
    for line in different or ["A rerun here would start from the same params, code and versions."]:
        print(line)
    return 1 if damaged else 0


def archive(name: str, *, hashed: bool = False) -> Path:
    """Write `archives/<name>.zip` of a finished study and return its path.

    Raises StudyError if a file of the study is missing or broken.
    """
    study = load_study(name)
    target = paths.archive(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}.") as folder:
        crate = _crate(name, study)
        crate.root_dataset["texts"] = "hash" if hashed else "keep"
        staged = Path(folder) / "staged"
        for place, file in _files(name, study, pages=not hashed):
            if hashed and file.suffix == ".parquet":
                file = _without_text(file, staged / place)
            about = {"sha256": _sha256(file), "contentSize": str(file.stat().st_size)}
            crate.add_file(file, place, properties=about)
        written = Path(folder) / "crate.zip"
        crate.write_zip(written)
        written.replace(target)
    return target


def verify(file: Path) -> tuple[list[str], list[str]]:
    """What is damaged in the archive `file`, and in what a rerun here would differ: sentences.

    Raises StudyError if `file` is no archive of a study.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = _unpacked(file, Path(folder))
        crate = ROCrate(root)
        said = {
            unquote(entity.id): entity.get("sha256")  # an identifier is a URI: @ stands there as %40
            for entity in crate.data_entities
            if entity.get("sha256")
        }
        there = {str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()} - {METADATA}
        damaged = [f"{place} is missing from the archive." for place in sorted(said.keys() - there)]
        damaged += [
            f"{place} was not there when the archive was made." for place in sorted(there - said.keys())
        ]
        found = {place: _sha256(root / place) for place in sorted(said.keys() & there)}
        damaged += [
            f"{place} is damaged: its content is not what the archive's record says."
            for place in found
            if found[place] != said[place]
        ]
        return damaged, _different(crate, root, {p: found[p] for p in found if found[p] == said[p]})


def _crate(name: str, study: Study) -> ROCrate:
    crate = ROCrate()
    crate.name = study.title
    crate.description = f"The study {name!r}: params, data, reports and versions of everything that made it."
    crate.license = "https://spdx.org/licenses/MIT"
    crate.root_dataset["codeHash"] = library_hash()
    crate.root_dataset["softwareVersion"] = metadata.version("balancing-the-flow")
    return crate


def _files(name: str, study: Study, *, pages: bool) -> Iterator[tuple[str, Path]]:
    """Place within the archive and file, of everything that the study declared and made.

    Of a study that imports: of what the repository has.
    """
    pairs = repository.pairs(name, study)
    made = [
        *(paths.documents(dataset) for dataset in study.datasets if not study.imported),
        *(paths.texts(*pair) for pair in pairs),
        *(
            where(scorer, *pair)
            for scorer in study.scorers
            for pair in pairs
            for where in (paths.surprisals, paths.words, paths.uid)
        ),
        *(
            paths.comparison(name, comparison, table)
            for comparison in repository.narrowed(name, study).comparisons
            for table in ("summary", "tests", "models")
        ),
    ]
    for file in made:
        if not file.exists():
            raise StudyError(
                f"{paths.shown(file)} does not exist yet; make it with `make study STUDY={name}`."
            )
    declared = [
        paths.study_file(name),
        *(paths.dataset_file(dataset) for dataset in study.datasets),
        *dict.fromkeys(paths.source_file(each) for each in (*study.sources, *study.scorers)),
    ]
    optional = [paths.hypotheses(name), paths.registered(name), paths.root() / "requirements.lock"]
    if study.paper:
        optional += [paths.paper_page("html"), paths.paper_page("pdf")]
    folders = [paths.study_page(name).parent]
    folders += [paths.rendered_notebook("01_generate", *pair).parent for pair in pairs]
    reports = [page for folder in folders for page in sorted(folder.rglob("*.html"))] if pages else []
    for file in (*declared, *made, *(each for each in optional if each.exists()), *reports):
        if file.exists():
            yield str(file.relative_to(paths.root())), file


def _without_text(file: Path, target: Path) -> Path:
    """A copy of the Parquet `file` whose texts are hashes and whose tokens are gone, at `target`."""
    table = store.read_table(file, "make study")
    for column in table.column_names:
        at = table.column_names.index(column)
        if column in HASHED:
            hashes = [
                text and hashlib.sha256(text.encode()).hexdigest() for text in table[column].to_pylist()
            ]
            table = table.set_column(at, table.schema.field(at), pa.array(hashes, pa.string()))
        elif column in EMPTIED:
            field = table.schema.field(at)
            table = table.set_column(at, field, pa.nulls(len(table), field.type))
    store.write_stream(target, [table], table.schema, store.read_record(file))
    return target


def _unpacked(file: Path, folder: Path) -> Path:
    """The root of the archive: `file` itself if it is a folder, else unpacked below `folder`."""
    if not file.exists():
        raise StudyError(f"There is no {file}; name an archive that `make archive` wrote.")
    if file.is_dir():
        root = file
    else:
        try:
            with zipfile.ZipFile(file) as packed:
                packed.extractall(folder)
        except (zipfile.BadZipFile, OSError) as error:
            raise StudyError(f"{file} cannot be unpacked ({error}); fetch it again.") from error
        root = folder
    if not (root / METADATA).is_file():
        raise StudyError(f"{file} is no archive of a study: it has no {METADATA}.")
    return root


def _different(crate: ROCrate, root: Path, whole: Mapping[str, str]) -> list[str]:
    """Params, code, versions and data that are otherwise here: sentences; `whole` has hashes by place."""
    found = []
    hashed = crate.root_dataset.get("texts") == "hash"
    versions: dict[str, str | None] = {}
    for place, sha256 in whole.items():
        here = paths.root() / place
        if place.startswith("params/"):
            if not here.exists():
                found.append(f"{place} is not here; copy it from the archive.")
            elif _sha256(here) != sha256:
                found.append(f"{place} says something else here.")
        elif place.startswith("data/"):
            record = store.read_record(root / place)
            versions |= record["versions"]
            if not here.exists():
                continue
            if not store.is_complete(here, record):
                found.append(f"{place} was made otherwise here.")
            elif not hashed and _sha256(here) != sha256:
                found.append(f"{place} has other bytes here, though it was made of the same things.")
    if crate.root_dataset.get("codeHash") != library_hash():
        found.append("The code here is not the code that made the archive.")
    for package, version in sorted(versions.items()):
        if version is not None and (now := store.version(package)) != version:
            found.append(f"{package} is {now or 'not installed'} here and was {version}.")
    return found


def library_hash() -> str:
    """A hash of the library as it is written; what Python has compiled of it differs between two clones."""
    files = sorted(file for file in CODE.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return store.digest(f"{file.relative_to(CODE)} {_sha256(file)}" for file in files)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
