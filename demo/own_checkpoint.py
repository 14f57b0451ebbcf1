"""The demo on a real SD 1.5 checkpoint and two folders of photographs: teach two concepts, use both in one prompt."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import torch

from demo.editor.comfy_server import ComfyServer, Result
from demo.editor.graph import change, find
from demo.editor.shipped import execute, shipped_prompt

IMAGES_PER_CONCEPT = 3
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def run(server: ComfyServer, arguments: argparse.Namespace) -> None:
    """Runs the workflows continual_training and multi_concept_generation and says where everything went."""
    if not torch.cuda.is_available() and not (arguments.steps and arguments.resolution):
        print("No GPU: few steps at low resolution show that everything runs. To teach: --steps 500 --resolution 512.")
    checkpoint = install_checkpoint(arguments)
    info = server.object_info()
    teach = fitted("continual_training", info, checkpoint, arguments)
    for node, name in zip(find(teach, "CNS_LoadConceptImages"), install_pictures(arguments), strict=True):
        teach[node]["inputs"]["folder"] = name
    taught = execute(server, "Teaching two concepts", teach)
    *_, save = find(teach, "CNS_SaveState")  # of both concepts
    state = Path(taught.outputs[save]["text"][0].splitlines()[0])
    generate = fitted("multi_concept_generation", info, checkpoint, arguments)
    change(generate, "CNS_LoadState", state_name=state.name)
    shown = execute(server, "Two concepts in one prompt", generate)
    report(arguments.base, teach, taught, shown, state)


def install_checkpoint(arguments: argparse.Namespace) -> str:
    """The checkpoint's name below ComfyUI's models, where it is linked or copied to."""
    target = arguments.base / "models" / "checkpoints" / arguments.checkpoint.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.symlink_to(arguments.checkpoint.resolve())
        except OSError:  # Windows without the right to make links
            shutil.copy2(arguments.checkpoint, target)
    return target.name


def install_pictures(arguments: argparse.Namespace) -> list[str]:
    """A folder in ComfyUI's input for each concept, with copies of three pictures."""
    names = []
    for index, source in enumerate(arguments.images):
        folder = arguments.base / "input" / f"cns_demo_{index + 1}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        found = sorted(path for path in source.glob("*") if path.suffix.lower() in SUFFIXES)[:IMAGES_PER_CONCEPT]
        if len(found) < IMAGES_PER_CONCEPT:
            raise SystemExit(f"{source} holds {len(found)} images, but {IMAGES_PER_CONCEPT} are needed.")
        for path in found:
            shutil.copy2(path, folder)
        names.append(folder.name)
    return names


def fitted(name: str, info: dict, checkpoint: str, arguments: argparse.Namespace) -> dict:
    """A shipped workflow with the user's checkpoint and nouns; small where there is no GPU."""
    prompt, on_gpu = shipped_prompt(name, info), torch.cuda.is_available()
    change(prompt, "CheckpointLoaderSimple", ckpt_name=checkpoint)
    resolution = arguments.resolution or (512 if on_gpu else 128)
    change(prompt, "EmptyLatentImage", width=resolution, height=resolution)
    for kind in ("CNS_TrainStep", "CNS_MakePriorImages", "CNS_LoadConceptImages"):
        change(prompt, kind, resolution=resolution)
    if not on_gpu:
        change(prompt, "KSampler", steps=2)
        change(prompt, "EmptyLatentImage", batch_size=1)
        change(prompt, "CNS_MakePriorImages", steps=2, count=1)
        change(prompt, "CNS_ComputeGeneralNeurons", count=4)
    if not on_gpu or arguments.steps:
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


def report(base: Path, teach: dict, taught: Result, shown: Result, state: Path) -> None:
    output = base / "output"
    for node in find(teach, "PreviewAny"):
        if node in taught.outputs:
            print(f"\n{teach[node]['_meta']['title']}\n" + taught.outputs[node]["text"][0])
    print(f"\nstate     {state} ({state.stat().st_size / 1e6:.1f} MB)")
    for result in shown.outputs.values():
        for file in result.get("images", []):
            print(f"picture   {output / file['subfolder'] / file['filename']}")
