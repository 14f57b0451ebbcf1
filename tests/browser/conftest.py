from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from demo.editor.comfy_server import ComfyServer
from dev import newest_frontend
from tests.support.editor import LITEGRAPH, NODES_2, SETTINGS, ready

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
_NODES = {"bundled": LITEGRAPH, "newest": NODES_2}  # what draws the nodes, where a test does not say


@pytest.fixture(scope="session")
def browser():
    path = os.environ.get("CNS_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        path = path or playwright.chromium.executable_path
        if not Path(path).is_file():
            pytest.fail(
                "The browser tests need a Chromium: install one, or run '.venv/bin/python -m playwright install chromium'."
            )
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=list(_NODES))
def frontend(request) -> str:
    """The editor this ComfyUI brings, and the newest one."""
    return request.param


@pytest.fixture(scope="module")
def server(frontend, comfyui, base):
    """A core stays free for the browser: torch's threads wait
    for each other after every operation, so one that shares its core holds up all.
    """
    options = ("--cpu", "--front-end-root", str(newest_frontend())) if frontend == "newest" else ("--cpu",)
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) - 1))}
    with ComfyServer(comfyui, base, options=options, environment=threads) as running:
        yield running


@pytest.fixture(scope="module")
def editor(request, browser, server, frontend):
    """The editor, with nodes drawn on the canvas or by Vue, and what went wrong in it."""
    nodes = getattr(request, "param", _NODES[frontend])
    server.post("/settings", {**SETTINGS, "Comfy.VueNodes.Enabled": nodes == NODES_2})
    context = browser.new_context(viewport={"width": 1600, "height": 1000}, permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(90_000)  # the newest editor takes half of that on a busy machine
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error} {error.stack}"))
    page.on("console", lambda message: errors.append(f"{message.text} {message.location}") if message.type == "error" else None)
    page.goto(server.url)
    ready(page)
    yield page, errors
    context.close()


@pytest.fixture
def page(editor):
    """An error in the pack's own files fails the test."""
    page, errors = editor
    errors.clear()
    yield page
    ours = [error for error in errors if "/extensions/continual-concepts" in error]
    assert not ours, ours
