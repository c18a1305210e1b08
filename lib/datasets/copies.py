"""Copies of files that editors, systems and programs that synchronise folders leave beside them."""

import re

_COPY = re.compile(
    r"[.~#].*"  # hidden, or an editor's
    r"|.*~"
    r"|__MACOSX|@eaDir|\$RECYCLE\.BIN|lost\+found"  # folders of archives, disks and their rubbish
    r"|.*\.sync-conflict-\d.*|.*\((?:.*\b)?conflicted copy\b.*\)",  # of Syncthing, of Dropbox and Nextcloud
    re.DOTALL,
)


def is_a_copy(name: str) -> bool:
    """Of a folder, or of a file without its suffix: whether such files are no texts of anybody's."""
    return _COPY.fullmatch(name) is not None
