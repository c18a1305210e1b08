"""Whether the llama.cpp that is installed reads a GGUF file here, tried in a process of its own.

Built for the very processor, it can die at its first decode (Intel AMX in virtual machines).

    python -m lib.backends.llama_cpp_probe               exit status 0 if it works, else one sentence and 1
    python -m lib.backends.llama_cpp_probe --portable    the CMAKE_ARGS of a build that runs everywhere
"""

import platform
import subprocess
import sys

from lib import paths

FILE = "data/models/tiny-base/q8_0.gguf"
DECODE = """
import sys
from lib.backends.llama_cpp_context import Context
from lib.backends.llama_cpp_model import LlamaCppModel
from lib.params import LlamaCpp
model = LlamaCppModel(LlamaCpp(backend="llama_cpp", file=sys.argv[1], context_length=64))
ids = model.tokens("The list is sorted in place, and nothing is returned.")
context = Context(model, 64)
assert abs(context.logits(ids, 0, 0)).sum() > 0
"""


def trouble(file: str = FILE) -> str | None:
    """Why llama.cpp cannot be used here, in one sentence, or None if it decodes `file`."""
    tried = subprocess.run(
        [sys.executable, "-c", DECODE, file],
        cwd=paths.root(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if tried.returncode == 0:
        return None
    if tried.returncode < 0:
        return (
            f"llama.cpp dies at its first decode (signal {-tried.returncode}): it was built for another "
            f"processor than this one offers; build it portably with `make extras`."
        )
    said = tried.stderr.strip().splitlines()
    return f"llama.cpp does not work here ({said[-1] if said else 'it says nothing'})."


def portable() -> str:
    """The CMAKE_ARGS of a build that asks of the processor only what all of its kind have."""
    if platform.machine() in ("x86_64", "AMD64"):
        return "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON"
    return "-DGGML_NATIVE=OFF"


def main() -> int:
    if "--portable" in sys.argv:
        print(portable())
        return 0
    found = trouble()
    if found:
        print(found, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
