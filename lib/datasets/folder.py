"""A directory of .txt files, one text each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lib import paths
from lib.datasets.copies import is_a_copy
from lib.datasets.document import Document
from lib.datasets.openings import split_opening
from lib.datasets.unfit import Found, Unfit
from lib.errors import StudyError


def documents(
    folder: Path, title: Literal["first_line", "name"] = "first_line", language: str = "en"
) -> Found:
    """The .txt files (UTF-8) in and below `folder`, in the order of their names, which are the ids.

    Unfit is a file that is not UTF-8 or has nothing after its first sentence. Raises StudyError as
    `text_files`.
    """
    found = Found()
    first: dict[str, Path] = {}
    for path in text_files(folder):
        try:
            doc_id = path.relative_to(folder).with_suffix("").as_posix()
            if (other := first.setdefault(doc_id, path)) != path:
                raise Unfit(f"has the name of {paths.shown(other)} but for its ending")
            found.documents.append(_document(path, doc_id, title, language))
        except Unfit as reason:
            found.unfit[paths.shown(path)] = str(reason)
    return found


def text_files(folder: Path) -> list[Path]:
    """The .txt files in and below `folder`, links followed.

    Hidden files and folders are none, nor are the copies that editors keep beside a file. Raises StudyError
    if there is no folder or no file, if a folder below may not be read, or a link leads nowhere.
    """
    shown = paths.shown(folder)
    if not folder.is_dir():
        raise StudyError(f"There is no folder {shown}; give one that holds .txt files.")
    files = sorted(path for path in _below(folder, set()) if path.suffix.lower() == ".txt")
    if not files:
        raise StudyError(f"The folder {shown} holds no .txt files; put texts there, one per file.")
    for path in files:
        if not path.exists():
            raise StudyError(f"{paths.shown(path)} is a link to a file that is not there; take it out.")
    return [path for path in files if path.is_file()]


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """What is in and below `folder` and no copy; a folder that links lead to twice is looked into once."""
    try:
        stat = folder.stat()
        if (stat.st_dev, stat.st_ino) in seen:
            return
        seen.add((stat.st_dev, stat.st_ino))
        content = sorted(folder.iterdir())
    except OSError as error:
        raise StudyError(
            f"The folder {paths.shown(folder)} cannot be read ({error.strerror}); see to it, or take it out."
        ) from error
    for path in content:
        directory = path.is_dir()
        if is_a_copy(path.name if directory else path.stem):
            continue
        yield path
        if directory:
            yield from _below(path, seen)


def _document(path: Path, doc_id: str, title_from: Literal["first_line", "name"], language: str) -> Document:
    try:
        doc_id.encode()
        content = path.read_text(encoding="utf-8-sig").strip()  # which makes every line end "\n"
    except UnicodeEncodeError:
        raise Unfit("has a name that is not UTF-8") from None
    except UnicodeDecodeError:
        raise Unfit("is not UTF-8 text") from None
    except PermissionError:
        raise Unfit("may not be read (permission denied)") from None
    if title_from == "first_line":
        title, _, body = content.partition("\n")
    else:
        title, body = path.stem, content
    opening, text = split_opening(body.lstrip(), language)
    if not text.strip():
        raise Unfit(
            f"has no text after its {'title and ' * (title_from == 'first_line')}first sentence, so there is "
            f"nothing to compare"
        )
    return Document(doc_id=doc_id, title=title.strip(), prompt=f"{title.strip()}\n\n{opening}", text=text)
