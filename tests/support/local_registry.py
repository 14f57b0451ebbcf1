"""A registry on this machine with one package in it, as the public one answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Registry:
    """``with Registry(name, version, package) as url:``"""

    def __init__(self, name: str, version: str, package: Path) -> None:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path.endswith(".zip"):
                    return self.send(package.read_bytes(), "application/zip")
                return self.send(json.dumps(registry.answer(path)).encode(), "application/json")

            def send(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.name, self.version = name, version
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str) -> object:
        version = {
            "id": f"{self.name}-{self.version}",
            "version": self.version,
            "downloadUrl": f"{self.url}/{self.name}.zip",
            "changelog": "",
            "dependencies": [],
            "deprecated": False,
            "status": "NodeVersionStatusActive",
        }
        node = {"id": self.name, "name": self.name, "publisher": {"id": "us"}, "repository": "", "latest_version": version}
        if path == "/nodes":
            return {"nodes": [node], "totalPages": 1, "total": 1}
        if path.endswith("/install"):
            return version
        if path.endswith("/versions"):
            return [version]
        return node

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self.url

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
