"""The pack's two main workflows, run on a real ComfyUI server: teach two concepts, then use both in one prompt."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from pathlib import Path

import torch
from comfy_server import ComfyServer, Result
from PIL import Image, ImageDraw
from random_checkpoint import NAME, make
from workflow import change, find, to_prompt

WORKFLOWS = Path(__file__).parents[1] / "example_workflows"
IMAGES_PER_CONCEPT = 3
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def main() -> int:
    arguments = parse()
    started = time.monotonic()
    sys.path.insert(0, str(arguments.comfyui))
    quick = arguments.checkpoint is None or not torch.cuda.is_available()
    checkpoint = install_checkpoint(arguments)
    pictures = install_pictures(arguments)
    options = () if torch.cuda.is_available() else ("--cpu",)
    with ComfyServer(arguments.comfyui, arguments.base, options=options) as server:
        print(f"ComfyUI is running at {server.url} (log: {server.log_path})")
        info = server.object_info()
        teach = load("continual_training", info, checkpoint, quick, arguments)
        for node, name in zip(find(teach, "LoadImage"), pictures, strict=True):
            teach[node]["inputs"]["image"] = name
        taught = execute(server, "Teaching two concepts", teach)
        (save,) = find(teach, "CNS_SaveState")
        state = Path(taught.outputs[save]["text"][0].splitlines()[0])
        generate = load("multi_concept_generation", info, checkpoint, quick, arguments)
        change(generate, "CNS_LoadState", state_name=state.name)
        shown = execute(server, "Two concepts in one prompt", generate)
        report(server, arguments.base, teach, taught, shown, state)
        memory = server.peak_memory()
        print(
            f"Done in {time.monotonic() - started:.0f} s{f', the server used up to {memory / 1e9:.1f} GB' if memory else ''}."
        )
        if arguments.checkpoint is None:
            print("The checkpoint has random weights: its pictures are noise. Give a real one with --checkpoint FILE.")
        if arguments.serve:
            print(f"The editor is at {server.url}; Ctrl-C ends it.")
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                print()
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python dev.py demo", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, nargs=2, metavar="DIR", help="two folders with three or more photographs each")
    parser.add_argument("--nouns", nargs=2, default=("dog", "hat"), help="what the two things are (default: dog hat)")
    parser.add_argument("--checkpoint", type=Path, help="an SD 1.5 checkpoint; without it, random weights")
    parser.add_argument("--steps", type=int, help="training steps for each concept")
    parser.add_argument("--resolution", type=int, help="pixels")
    parser.add_argument("--serve", action="store_true", help="leave the editor open afterwards")
    return parser.parse_args()


def install_checkpoint(arguments: argparse.Namespace) -> str:
    folder = arguments.base / "models" / "checkpoints"
    if arguments.checkpoint is None:
        print(f"No --checkpoint: using a full-size SD 1.5 with random weights ({folder / NAME}); its pictures are noise.")
        from comfy.cli_args import args

        args.cpu = True
        return make(folder / NAME).name
    if not arguments.checkpoint.is_file():
        raise SystemExit(f"There is no checkpoint {arguments.checkpoint}.")
    target = folder / arguments.checkpoint.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            target.symlink_to(arguments.checkpoint.resolve())
        except OSError:  # Windows without the right to make links
            shutil.copy2(arguments.checkpoint, target)
    return target.name


def install_pictures(arguments: argparse.Namespace) -> list[str]:
    """Names of three pictures for each concept, copied or drawn into ComfyUI's input folder."""
    names = []
    for index in range(2):
        folder = arguments.base / "input" / f"cns_demo_{index + 1}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if arguments.images:
            source = arguments.images[index]
            found = sorted(path for path in source.glob("*") if path.suffix.lower() in SUFFIXES)[:IMAGES_PER_CONCEPT]
            if len(found) < IMAGES_PER_CONCEPT:
                raise SystemExit(f"{source} holds {len(found)} images, {IMAGES_PER_CONCEPT} are needed.")
            for path in found:
                shutil.copy2(path, folder)
        else:
            for number in range(IMAGES_PER_CONCEPT):
                draw(index, number, arguments.comfyui / "input" / "example.png").save(folder / f"{number}.png")
        names += [f"{folder.name}/{path.name}" for path in sorted(folder.iterdir())]
    return names


def draw(concept: int, number: int, example: Path) -> Image.Image:
    """A thing on a coloured ground; the first concept begins with ComfyUI's own example picture where there is one."""
    if concept == 0 and number == 0 and example.is_file():
        return Image.open(example).convert("RGB")
    picture = Image.new("RGB", (256, 256), [(90, 150, 90), (120, 130, 180), (200, 190, 160)][number])
    pen = ImageDraw.Draw(picture)
    if concept == 0:
        pen.ellipse((60, 100, 200, 220), fill=(140, 90, 50))
        pen.ellipse((150, 50, 220, 120), fill=(150, 100, 60))
    else:
        pen.rectangle((90, 60, 166, 160), fill=(60, 30, 110))
        pen.rectangle((50, 160, 206, 180), fill=(60, 30, 110))
    return picture


def load(name: str, info: dict, checkpoint: str, quick: bool, arguments: argparse.Namespace) -> dict:
    """A shipped workflow as a prompt, fitted to the checkpoint and, without a GPU, made small."""
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
    prompt = to_prompt(workflow, info)
    change(prompt, "CheckpointLoaderSimple", ckpt_name=checkpoint)
    resolution = arguments.resolution or (128 if quick else 512)
    change(prompt, "EmptyLatentImage", width=resolution, height=resolution)
    change(prompt, "CNS_TrainStep", resolution=resolution)
    if quick:
        change(prompt, "KSampler", steps=4)
        change(prompt, "EmptyLatentImage", batch_size=2)
    if quick or arguments.steps:
        change(prompt, "CNS_TrainStep", steps=arguments.steps or 8)
    rename(prompt, arguments.nouns)
    return prompt


def rename(prompt: dict, nouns: tuple[str, str]) -> None:
    """Puts the user's class nouns in place of the workflow's."""
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and node["class_type"] != "CNS_ComputeGeneralNeurons":
                for old, new in zip(("dog", "hat"), nouns, strict=True):
                    value = re.sub(rf"\b{old}\b", new, value)
                node["inputs"][name] = value


def execute(server: ComfyServer, what: str, prompt: dict) -> Result:
    print(f"\n{what} …")

    def show(message: dict) -> None:
        if message["type"] == "progress_text":
            print(f"\r  {message['data']['text']:100}", end="", flush=True)

    result = server.run(prompt, timeout=24 * 3600, on_message=show)
    print()
    if result.error:
        raise SystemExit(f"{result.error['node_type']}: {result.error['exception_message']}")
    print(f"  {result.seconds:.1f} s")
    return result


def report(server: ComfyServer, base: Path, teach: dict, taught: Result, shown: Result, state: Path) -> None:
    output = base / "output"
    for node in find(teach, "PreviewAny"):
        if node in taught.outputs:
            print(f"\n{teach[node]['_meta']['title']}\n" + taught.outputs[node]["text"][0])
    print(f"\nstate     {state} ({state.stat().st_size / 1e6:.1f} MB)")
    for node, result in taught.outputs.items():
        for file in result.get("images", []):
            target = (
                output / "cns" / f"plot_{teach[node]['_meta']['title'].replace(': ', '_').strip('<>')}.png".replace(">", "")
            )
            target.write_bytes(server.image(file))
            print(f"plot      {target}")
    for result in shown.outputs.values():
        for file in result.get("images", []):
            print(f"picture   {output / file['subfolder'] / file['filename']}")


if __name__ == "__main__":
    sys.exit(main())
