"""The states that nodes had when they ran, for their panels: pushed, and kept for pages that are opened or reloaded later."""

from __future__ import annotations

import time
from collections import OrderedDict

from .events import STATE_EVENT
from .running_server import running_client, running_server

_REMEMBERED = 256
_states: OrderedDict[tuple[str | None, str], dict[str, object]] = OrderedDict()


def show_state(record: dict[str, object], node: str | None, workflow: str | None) -> None:
    """``record`` as :func:`.state_record.state_record` gives it; ``node`` and ``workflow`` as for a training."""
    server = running_server()
    if server is None or node is None:
        return
    client = running_client()
    key = (workflow or client, node)
    number = time.time_ns() // 1_000_000
    message = {"number": number, "node": node, "workflow": workflow, "client": client, "state": record}
    _states.pop(key, None)
    _states[key] = message
    while len(_states) > _REMEMBERED:
        _states.popitem(last=False)
    server.send_sync(STATE_EVENT, message)


def remembered() -> list[dict[str, object]]:
    return list(_states.values())
