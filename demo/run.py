"""Teaches two concepts on a real ComfyUI server and uses both: on the pack's own small model, or on your SD 1.5."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from demo import own_checkpoint, tour
from demo.editor.comfy_server import ComfyServer


def main() -> None:
    arguments = parse()
    started = time.monotonic()
    options = () if torch.cuda.is_available() else ("--cpu",)
    with ComfyServer(arguments.comfyui, arguments.base, options=options) as server:
        print(f"ComfyUI is running at {server.url} (log: {server.log_path})")
        (own_checkpoint if arguments.checkpoint else tour).run(server, arguments)
        memory = server.peak_memory()
        print(
            f"Done in {time.monotonic() - started:.0f} s{f', the server used up to {memory / 1e9:.1f} GB' if memory else ''}."
        )
        if arguments.serve:
            print(f"The editor is at {server.url}; Ctrl-C ends it.")
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                print()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python dev.py demo", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help="an SD 1.5 checkpoint; then --images is needed too")
    parser.add_argument(
        "--images", type=Path, nargs=2, metavar="DIR", help="two folders of photographs, which may have captions beside them"
    )
    parser.add_argument("--nouns", nargs=2, default=("dog", "hat"), help="what the two things are (default: dog hat)")
    parser.add_argument("--steps", type=int, help="training steps for each concept, with --checkpoint (500; 8 without a GPU)")
    parser.add_argument("--resolution", type=int, help="pixels, with --checkpoint (512; 128 without a GPU)")
    parser.add_argument("--seed", type=int, default=0, help="of the teaching pictures and the noise, without --checkpoint")
    parser.add_argument("--pictures", type=int, default=6, help="pictures per prompt, without --checkpoint (default: 6)")
    parser.add_argument("--serve", action="store_true", help="leave the editor open afterwards")
    arguments = parser.parse_args()
    if bool(arguments.checkpoint) != bool(arguments.images):
        parser.error("--checkpoint and --images go together: a checkpoint to teach, and two folders of photographs")
    if arguments.checkpoint and not arguments.checkpoint.is_file():
        parser.error(f"there is no checkpoint {arguments.checkpoint}")
    return arguments


if __name__ == "__main__":
    main()
