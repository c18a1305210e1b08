"""A kernel of Jupyter that notebooks share, one after the other: what they import is imported once."""

from contextlib import suppress
from queue import Empty

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager, start_new_async_kernel
from nbclient.exceptions import DeadKernelError
from nbclient.util import run_sync

from lib import paths

STARTS_WITHIN = 300  # seconds; a busy machine takes long to start one
EMPTY = """\
get_ipython().reset()
import ctypes, gc, sys
gc.collect()
if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
    ctypes.CDLL(None).malloc_trim(0)
"""


class Kernel:
    """Started by the first notebook, emptied for each that follows, with one client for all.

    A new client would wait for silence, 0.2 s, before its first cell: a tenth of a short notebook.
    """

    def __init__(self) -> None:
        self._there: tuple[AsyncKernelManager, AsyncKernelClient] | None = None

    def ready(self) -> tuple[AsyncKernelManager, AsyncKernelClient]:
        """The kernel, with no names of another notebook's cells, and what speaks to it.

        Raises DeadKernelError where it dies while it starts.
        """
        if self._there is not None:
            run_sync(_emptied)(*self._there)
            return self._there
        try:
            self._there = run_sync(start_new_async_kernel)(
                startup_timeout=STARTS_WITHIN,
                kernel_name="python3",
                cwd=str(paths.root()),
                extra_arguments=["--log-level=ERROR"],
            )
        except RuntimeError as error:  # jupyter_client has no kind for it
            raise DeadKernelError(str(error)) from error
        self._there[1].allow_stdin = False
        return self._there

    def close(self) -> None:
        """End it, if it was started."""
        if self._there is not None:
            manager, client = self._there
            client.stop_channels()
            run_sync(manager.shutdown_kernel)(now=True)


async def _emptied(manager: AsyncKernelManager, client: AsyncKernelClient) -> None:
    """Take away the names of another notebook's cells, their count and memory; modules stay imported."""
    asked = client.execute(EMPTY, silent=True)
    while True:
        with suppress(Empty):
            answer = await client.get_shell_msg(timeout=1)
            if answer["parent_header"].get("msg_id") == asked:
                return
        if not await manager.is_alive():
            raise DeadKernelError("Kernel died")
