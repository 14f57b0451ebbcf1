"""What pages ask the server for."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from ...errors import CNSError
from ...state_file import load_state
from ..folders import state_path
from . import live_states, live_training
from .events import HELLO_ROUTE, STATE_ROUTE, STATES_ROUTE, TRAININGS_ROUTE
from .running_server import running_server
from .state_record import state_record


def register() -> None:
    """Does nothing where ComfyUI runs without its server, as under other programs."""
    server = running_server()
    if server is None:
        return
    routes = server.routes

    @routes.get(TRAININGS_ROUTE)
    async def trainings(request: web.Request) -> web.Response:
        text = await asyncio.to_thread(lambda: json.dumps(live_training.remembered()))  # may be megabytes
        return web.json_response(text=text)

    @routes.get(STATES_ROUTE)
    async def states(request: web.Request) -> web.Response:
        return web.json_response(live_states.remembered())

    @routes.post(HELLO_ROUTE)
    async def hello(request: web.Request) -> web.Response:
        live_training.page_will_draw(request.query.get("client_id", ""))
        return web.json_response({})

    @routes.get(STATE_ROUTE)
    async def state(request: web.Request) -> web.Response:
        try:
            return web.json_response(await asyncio.to_thread(_record, request.query.get("name", "")))
        except CNSError as error:
            return web.json_response({"error": str(error)}, status=404)


def _record(name: str) -> dict[str, object]:
    return state_record(load_state(state_path(name)))
