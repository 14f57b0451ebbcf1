"""The demo on a real SD 1.5 checkpoint and two folders of photographs: teach two concepts, use both in one prompt."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from cns_core.comfy_adapter.pictures.folders import CAPTION_SUFFIXES, PICTURE_SUFFIXES, natural_order
from cns_core.config import TrainConfig
from demo.editor.comfy_server import ComfyServer
from demo.editor.graph import change, find
from demo.editor.shipped import execute, shipped_prompt

FOLDER = "cns_demo"  # in ComfyUI's checkpoints and in its input: only the demo's, and new each time


def run(server: ComfyServer, arguments: argparse.Namespace) -> None:
    """Runs the workflow first_steps and says where everything went."""
    if not torch.cuda.is_available() and not (arguments.steps and arguments.resolution):
        print("No GPU: few steps at low resolution show that everything runs. To teach: --steps 500 --resolution 512.")
    checkpoint, concepts = install_checkpoint(arguments), install_pictures(arguments)
    prompt = fitted(shipped_prompt("first_steps", server.object_info()), checkpoint, concepts, arguments)
    result = execute(server, f"Teaching {' and '.join(concepts)}, then both in one prompt", prompt)
    (teach,), (save,) = find(prompt, "CNS_TeachFolder"), find(prompt, "SaveImage")
    print(result.outputs[teach]["text"][0])
    for file in result.outputs[save]["images"]:
        print(f"picture   {arguments.base / 'output' / file['subfolder'] / file['filename']}")


def install_checkpoint(arguments: argparse.Namespace) -> str:
    """The checkpoint's name below ComfyUI's checkpoints, where it is linked or copied to."""
    folder = emptied(arguments.base / "models" / "checkpoints" / FOLDER)
    try:
        (folder / arguments.checkpoint.name).symlink_to(arguments.checkpoint.resolve())
    except OSError:  # Windows without the right to make links
        shutil.copy2(arguments.checkpoint, folder)
    return str(Path(FOLDER, arguments.checkpoint.name))


def install_pictures(arguments: argparse.Namespace) -> list[str]:
    """Copies pictures and captions to where Teach Folder reads them. The concepts as prompts call them: ``<new1> dog``."""
    root = emptied(arguments.base / "input" / FOLDER)
    names = [f"{noun} - {number}" for number, noun in enumerate(arguments.nouns, start=1)]  # the nouns may be the same
    for name, source in zip(names, arguments.images, strict=True):
        files = [path for path in source.glob("*") if path.suffix.lower() in {*PICTURE_SUFFIXES, *CAPTION_SUFFIXES}]
        if not any(path.suffix.lower() in PICTURE_SUFFIXES for path in files):
            raise SystemExit(f"{source} holds no pictures.")
        folder = emptied(root / name)
        for path in files:
            shutil.copy2(path, folder)
    in_order = sorted(names, key=natural_order)  # in which Teach Folder gives them tokens
    return [f"<new{number}> {name.partition(' - ')[0]}" for number, name in enumerate(in_order, start=1)]


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def fitted(prompt: dict, checkpoint: str, concepts: list[str], arguments: argparse.Namespace) -> dict:
    """The workflow with the user's checkpoint, pictures and concepts; small where there is no GPU."""
    small = not torch.cuda.is_available()
    resolution = arguments.resolution or (128 if small else TrainConfig.resolution)
    steps = arguments.steps or (8 if small else TrainConfig.steps)
    change(prompt, "CheckpointLoaderSimple", ckpt_name=checkpoint)
    change(prompt, "CNS_TeachFolder", folder=FOLDER, start_over=True, steps=steps, resolution=resolution)
    change(prompt, "EmptyLatentImage", width=resolution, height=resolution, batch_size=1 if small else 2)
    if small:
        change(prompt, "CNS_TeachFolder", prior_images=0)
    if small and resolution < TrainConfig.resolution:  # such pictures show little, however many steps they take
        change(prompt, "KSampler", steps=2)
    positive, _ = find(prompt, "CLIPTextEncode")
    prompt[positive]["inputs"]["text"] = f"photo of a {' next to a '.join(concepts)}"
    return prompt
