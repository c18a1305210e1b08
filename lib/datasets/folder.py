"""A directory of .txt files, one text each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lib import paths
from lib.datasets.document import Document
from lib.datasets.openings import split_opening
from lib.datasets.unfit import Found, Unfit
from lib.errors import StudyError


def documents(
    folder: Path, title: Literal["first_line", "name"] = "first_line", language: str = "en"
) -> Found:
    """The .txt files (UTF-8) in and below `folder`, in the order of their names, which are the ids.

    Unfit is a file that is not UTF-8 or has nothing after its first sentence. Raises StudyError if
    there is no such folder or no text in it.
    """
    found = Found()
    for path in text_files(folder):
        try:
            doc_id = path.relative_to(folder).with_suffix("").as_posix()
            found.documents.append(_document(path, doc_id, title, language))
        except Unfit as reason:
            found.unfit[paths.shown(path)] = str(reason)
    return found


def text_files(folder: Path) -> list[Path]:
    """The .txt files in and below `folder`. Raises StudyError if there is no folder or no file.

    Hidden files and folders are none, nor are the copies that editors keep beside a file.
    """
    shown = paths.shown(folder)
    if not folder.is_dir():
        raise StudyError(f"There is no folder {shown}; give one that holds .txt files.")
    files = sorted(
        path
        for path in folder.rglob("*.txt")
        if path.is_file() and not any(map(_is_a_copy, _parts(path.relative_to(folder))))
    )
    if not files:
        raise StudyError(f"The folder {shown} holds no .txt files; put texts there, one per file.")
    return files


def _parts(path: Path) -> Iterable[str]:
    return (*path.parent.parts, path.stem)


def _is_a_copy(name: str) -> bool:
    """Of a file's stem or a folder: `.x` and `._x` are hidden, `~$x` and `x~` are editors'."""
    return name.startswith((".", "~", "#")) or name.endswith("~") or name == "__MACOSX"


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
