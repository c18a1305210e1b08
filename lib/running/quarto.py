"""Render the paper: `python -m lib.running.quarto`. What Quarto says reaches a person only if it fails."""

import re
import subprocess
import sys

from lib import paths
from lib.commands import a_command

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@a_command
def main() -> int:
    done = subprocess.run(
        ["quarto", "render", "paper/"], cwd=paths.root(), capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return 0
    said = COLOURS.sub("", done.stdout + done.stderr)
    log = paths.failed_log("paper", "quarto")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(said)
    print(f"error: Quarto could not render the paper: {reason(said)}", file=sys.stderr)
    print(f"  what it had done: {paths.shown(log)}", file=sys.stderr)
    print("  to run just this again: quarto render paper/", file=sys.stderr)
    return 1


def reason(said: str) -> str:
    """The line of Quarto's chatter that says why it stopped: the first error, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|\w*Error)\b", line)]
    return (errors or lines[-1:] or ["it said nothing."])[0]


if __name__ == "__main__":
    sys.exit(main())
