"""A real server on loopback, and a proxy before it that spoils answers on demand."""

import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(model: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """llama-cpp-python's server with `model`; its process and base URL once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--port", str(port)]
    options = ["--n_ctx", "512", "--logits_all", "true", "--host", "127.0.0.1", "--n_threads", "1"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *options], stdout=stream, stderr=stream)
    url = f"http://127.0.0.1:{port}/v1"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/models", timeout=1).close()
            return process, url
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    process.kill()
    raise RuntimeError(log.read_text(errors="replace")[-2000:])


class Proxy:
    """Passes requests on to `target`. The next ones meet the `faults`, in their order."""

    def __init__(self, target: str) -> None:
        self.target = target.removesuffix("/v1")
        self.faults: list[str] = []
        self.always: str | None = None
        self.asked = 0
        self.met: Counter[str] = Counter()
        self.keys: list[str | None] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                proxy.handle(self)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        self.keys.append(handler.headers["Authorization"])
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        fault = self.always or (self.faults.pop(0) if self.faults else "none")
        self.met[fault] += 1
        match fault:
            case "429":
                answer(handler, 429, b'{"error": {"message": "slow down"}}', {"Retry-After": "1"})
            case "500":
                answer(handler, 500, b'{"error": {"message": "out of luck"}}')
            case "401":
                sent = handler.headers["Authorization"]
                answer(handler, 401, b'{"error": {"message": "wrong key: %s"}}' % sent.encode())
            case "slow":
                time.sleep(3)
                answer(handler, 200, b"{}")
            case "reset":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.connection.close()
            case "cut":
                handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n")
                handler.wfile.write(b'Content-Length: 5000\r\n\r\n{"choices": [{"text": "half of a')
                handler.close_connection = True
            case "malformed":
                answer(handler, 200, b'{"choices": [{"text": "half of a')
            case "empty":
                answer(handler, 200, b'{"choices": []}')
            case _:
                self.pass_on(handler, body)

    def pass_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        request = urllib.request.Request(
            self.target + handler.path, body, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request) as response:
                answer(handler, response.status, response.read())
        except urllib.error.HTTPError as error:
            answer(handler, error.code, error.read())


def answer(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
