"""A real ComfyUI server in a process of its own, driven as the editor drives it: HTTP and the websocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

_PROGRESS_TEXT = 3  # ComfyUI's BinaryEventTypes.TEXT
_START_SECONDS, _FIRST_MESSAGE_SECONDS = 180, 30


class PromptRefused(Exception):
    """The server did not accept the prompt; ``answer`` is its explanation."""

    def __init__(self, answer: dict) -> None:
        super().__init__(json.dumps(answer, indent=1))
        self.answer = answer


@dataclass
class Result:
    """What one queued prompt led to. ``error`` is the ``execution_error`` message; ``interrupted`` after a Cancel."""

    prompt_id: str
    seconds: float = 0.0
    outputs: dict = field(default_factory=dict)
    messages: list[dict] = field(default_factory=list)
    error: dict | None = None
    interrupted: bool = False

    def of(self, kind: str) -> list[dict]:
        """Data of all messages of a type, in order."""
        return [message["data"] for message in self.messages if message["type"] == kind]

    @property
    def cached(self) -> set[str]:
        return {node for data in self.of("execution_cached") for node in data["nodes"]}


class ComfyServer:
    """``with ComfyServer(comfyui, base) as server:``; ``base`` holds models, custom_nodes, input and output."""

    def __init__(
        self,
        comfyui: Path,
        base: Path,
        options: tuple[str, ...] = ("--cpu",),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.comfyui, self.base, self.options = comfyui, base, options
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # dev.py's, which users have not
        self._environment = {**own, "PYTHONUTF8": "1", **(environment or {})}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client_id = uuid.uuid4().hex
        self._temp = base / "user" / f"temp-{self.port}"
        self.log_path = base / "user" / f"server-{self.port}.log"
        self._process: subprocess.Popen | None = None
        self._messages: queue.Queue = queue.Queue()

    def __enter__(self) -> ComfyServer:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, str(self.comfyui / "main.py"), "--port", str(self.port), "--base-directory", str(self.base)),
            *("--disable-auto-launch", "--use-pytorch-cross-attention", "--database-url", "sqlite:///:memory:"),
            *("--temp-directory", str(self._temp)),  # a server empties its temp when it starts: not another one's
            *self.options,
        ]
        with self.log_path.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(command, cwd=self.comfyui, stdout=log, stderr=log, env=self._environment)
        try:
            self._wait_until_ready()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended with code {self._process.returncode} while starting:\n{self.log()[-3000:]}")
            with contextlib.suppress(OSError):
                self.get("/queue")
                threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True).start()
                self._messages.get(timeout=_FIRST_MESSAGE_SECONDS)  # the websocket is connected
                return
            time.sleep(0.3)
        raise RuntimeError(f"ComfyUI did not answer within {_START_SECONDS} s:\n{self.log()[-3000:]}")

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._temp, ignore_errors=True)

    def kill(self) -> None:
        """As kill -9: the server has no time for anything."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def peak_memory(self) -> int | None:
        """Highest resident memory of the server so far in bytes; None where the system does not tell (not Linux)."""
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.is_file():
            return None
        peak = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise PromptRefused(json.loads(error.read() or b"{}")) from error

    def object_info(self) -> dict:
        return json.loads(self.get("/object_info"))

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def image(self, file: dict) -> bytes:
        """A picture a node reported, as PNG bytes."""
        return self.get("/view?" + urllib.parse.urlencode(file))

    def run(self, prompt: dict, timeout: float = 600, on_message: Callable[[dict], None] = lambda message: None) -> Result:
        """Queues a prompt and waits until it is done, failed or interrupted. ``on_message`` hears everything at once."""
        started = time.monotonic()
        result = Result(self.post("/prompt", {"prompt": prompt, "client_id": self.client_id})["prompt_id"])
        while True:
            try:
                message = self._messages.get(timeout=max(0.0, timeout - (time.monotonic() - started)))
            except queue.Empty as error:
                raise TimeoutError(f"The prompt was not done after {timeout} s:\n{self.log()[-2000:]}") from error
            on_message(message)
            data = message.get("data", {})
            if data.get("prompt_id") not in (result.prompt_id, None):
                continue
            result.messages.append(message)
            if message["type"] == "execution_error":
                result.error = data
            result.interrupted |= message["type"] == "execution_interrupted"
            finished = message["type"] == "executing" and data.get("node") is None
            if finished or result.error or result.interrupted:
                break
        result.seconds = time.monotonic() - started
        result.outputs = {data["node"]: data["output"] for data in result.of("executed") if data["output"]}
        return result

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session:
            url = f"{self.url}/ws?clientId={self.client_id}"
            with contextlib.suppress(aiohttp.ClientError):
                async with session.ws_connect(url, max_msg_size=0) as socket_:
                    async for message in socket_:
                        if message.type == aiohttp.WSMsgType.TEXT:
                            self._messages.put(json.loads(message.data))
                        elif message.type == aiohttp.WSMsgType.BINARY:
                            self._binary(message.data)

    def _binary(self, frame: bytes) -> None:
        (kind,) = struct.unpack(">I", frame[:4])
        if kind == _PROGRESS_TEXT:
            (length,) = struct.unpack(">I", frame[4:8])
            node, text = frame[8 : 8 + length].decode(), frame[8 + length :].decode()
            self._messages.put({"type": "progress_text", "data": {"node": node, "text": text}})
        else:
            self._messages.put({"type": "preview", "data": {"size": len(frame)}})
