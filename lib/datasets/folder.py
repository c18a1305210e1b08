"""A directory of .txt files, one text each."""

from pathlib import Path
from typing import Literal

from lib import paths
from lib.datasets.document import Document
from lib.datasets.openings import split_opening
from lib.errors import StudyError


def documents(folder: Path, title: Literal["first_line", "name"] = "first_line") -> list[Document]:
    """The .txt files (UTF-8) in and below `folder`, in the order of their names, which are the ids.

    Raises StudyError if there is no such folder or no text in it, and for a file that is not UTF-8
    or has nothing after its first sentence.
    """
    return [
        _document(path, path.relative_to(folder).with_suffix("").as_posix(), title)
        for path in text_files(folder)
    ]


def text_files(folder: Path) -> list[Path]:
    """The .txt files in and below `folder`. Raises StudyError if there is no folder or no file."""
    shown = paths.shown(folder)
    if not folder.is_dir():
        raise StudyError(f"There is no folder {shown}; give one that holds .txt files.")
    files = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    if not files:
        raise StudyError(f"The folder {shown} holds no .txt files; put texts there, one per file.")
    return files


def _document(path: Path, doc_id: str, title_from: Literal["first_line", "name"]) -> Document:
    try:
        content = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise StudyError(f"{paths.shown(path)} is not UTF-8 text; convert it or take it out.") from None
    if title_from == "first_line":
        title, _, body = content.partition("\n")
    else:
        title, body = path.stem, content
    opening, text = split_opening(body.lstrip())
    if not text.strip():
        raise StudyError(
            f"{paths.shown(path)} has no text after its {'title and ' * (title_from == 'first_line')}"
            f"first sentence, so there is nothing to compare; lengthen it or take it out."
        )
    return Document(doc_id=doc_id, title=title.strip(), prompt=f"{title.strip()}\n\n{opening}", text=text)
