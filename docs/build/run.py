"""Writes what is made from a running server: the shipped workflows, the English labels and the pictures of the docs."""

from __future__ import annotations

import argparse
from pathlib import Path

from demo.editor.comfy_server import ComfyServer
from docs.build import locales, pictures, story, thumbnails, two_of_a_kind, workflows

MAKERS = {"workflows": workflows, "locales": locales, "thumbnails": thumbnails, "story": story}
MAKERS |= {"two_of_a_kind": two_of_a_kind, "pictures": pictures}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python dev.py docs", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*MAKERS, []], help="all of them, in this order, where none is named")
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with ComfyServer(arguments.comfyui, arguments.base) as server:
        for name in arguments.what or MAKERS:
            MAKERS[name].make(server)


if __name__ == "__main__":
    main()
