"""What pages ask the server for."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from ...errors import CNSError
from ...state_file import load_state
from ..folders import state_path
from . import live
from .events import LIVE_ROUTE, STATE_ROUTE
from .running_server import running_server
from .state_record import state_record


def register() -> None:
    """Does nothing where ComfyUI runs without its server, as under other programs."""
    server = running_server()
    if server is None:
        return
    routes = server.routes

    @routes.get(LIVE_ROUTE)
    async def shown(request: web.Request) -> web.Response:
        text = await asyncio.to_thread(lambda: json.dumps(live.shown()))  # may be megabytes
        return web.json_response(text=text)

    @routes.get(STATE_ROUTE)
    async def state(request: web.Request) -> web.Response:
        try:
            return web.json_response(await asyncio.to_thread(_record, request.query.get("name", "")))
        except CNSError as error:
            return web.json_response({"error": str(error)}, status=404)


def _record(name: str) -> dict[str, object]:
    return state_record(load_state(state_path(name)))
