"""A server that does not start as it should is not left behind."""

from __future__ import annotations

import queue

import pytest

from demo.editor import comfy_server

# ComfyUI as far as it goes before its websocket answers.
MAIN = """
import http.server, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def test_a_server_whose_websocket_says_nothing_is_stopped(tmp_path, monkeypatch):
    (tmp_path / "main.py").write_text(MAIN, encoding="utf-8")
    (tmp_path / "queue").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(comfy_server, "_FIRST_MESSAGE_SECONDS", 0.1)
    server = comfy_server.ComfyServer(tmp_path, tmp_path)
    with pytest.raises(queue.Empty), server:
        pytest.fail("it has started")
    assert server._process.poll() is not None
