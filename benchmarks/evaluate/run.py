"""Teaches your checkpoint a sequence of concepts, scores it after each one, and prints the paper's figures beside yours."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.evaluate.evaluation import Plan
    from cns_core.concept import Concept


def main() -> int:
    arguments = parse()
    import folder_paths

    import benchmarks  # noqa: F401 - ComfyUI without its server
    from cns_core.comfy_adapter.folders import JUDGES
    from cns_core.errors import CNSError

    folder_paths.set_output_directory(str(arguments.base / "output"))
    folder_paths.add_model_folder_path(JUDGES, str(arguments.base / "models" / JUDGES), is_default=True)
    try:
        evaluate(arguments)
    except CNSError as mistake:
        print(f"evaluate: {mistake}", file=sys.stderr)
        return 2
    return 0


def evaluate(arguments: argparse.Namespace) -> None:
    import comfy.sd
    import comfy.utils
    import torch

    from benchmarks.evaluate.evaluation import Evaluation, Plan
    from benchmarks.evaluate.layouts import chosen, find_subjects
    from benchmarks.evaluate.prompts import Counts
    from benchmarks.evaluate.report import report
    from benchmarks.reporting import machine
    from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
    from cns_core.comfy_adapter.judge import load_judge
    from cns_core.config import TrainConfig

    comfy.utils.set_progress_bar_enabled(False)
    config = TrainConfig(steps=arguments.steps, resolution=arguments.resolution).with_preset(arguments.preset)
    counts = Counts(*arguments.prompts)
    plan = Plan(config, arguments.strategy, arguments.priors, arguments.images, arguments.sampling_steps, counts)
    subjects = chosen(find_subjects(arguments.concepts), arguments.order, arguments.count)
    concepts = [subject.read(f"<new{number}>", config.resolution) for number, subject in enumerate(subjects, start=1)]
    judges = {"CLIP-I": load_judge(str(arguments.clip), arguments.download, print)}
    if arguments.dino:
        judges["DINO"] = load_judge(str(arguments.dino))
    with torch.inference_mode():
        loaded = comfy.sd.load_checkpoint_guess_config(str(arguments.checkpoint))[:3]
        checkpoint = Checkpoint(*loaded, arguments.checkpoint.name)
    names = [subject.name for subject in subjects]
    folder = (arguments.out or arguments.base / "output" / "cns" / "evaluation") / _name(arguments, plan, concepts)
    judged_by = [str(path) for path in (arguments.clip, arguments.dino) if path]
    name = f"{'-'.join(Path(path).name for path in judged_by)}-{_digest(judged_by)}"
    results = Evaluation(checkpoint, concepts, judges, plan, folder, f"scores-{name}.json").run()
    text = report(results, plan.images)
    made = {"machine": machine(), "checkpoint": checkpoint.name, "concepts": names, "plan": asdict(plan), "judges": judged_by}
    (folder / f"results-{name}.json").write_text(json.dumps({**made, **results}, indent=1), encoding="utf-8")
    (folder / f"results-{name}.md").write_text(text, encoding="utf-8")
    print(f"states, pictures and figures are in {folder}")


def _name(arguments: argparse.Namespace, plan: Plan, concepts: list[Concept]) -> str:
    """A folder for each checkpoint, sequence and plan, so that what is kept there fits; other judges see the same pictures."""
    made = [str(arguments.checkpoint.resolve()), asdict(plan), *map(_material, concepts)]
    return f"{arguments.checkpoint.stem}-{arguments.preset}-{_digest(made)}"


def _material(concept: Concept) -> list:
    """What a concept is taught with; pictures and masks by their contents."""
    pixels = hashlib.sha256()
    for picture in (*concept.images, *(mask for mask in concept.masks if mask is not None)):
        pixels.update(picture.numpy().tobytes())
    return [concept.name, concept.captions, pixels.hexdigest()]


def _digest(values: list) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python dev.py evaluate", description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--base", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, required=True, help="an SD 1.5 checkpoint")
    parser.add_argument(
        "--concepts", type=Path, required=True, help="CustomConcept101, CIFC, DreamBench, or a folder of folders of pictures"
    )
    parser.add_argument("--order", nargs="+", default=[], metavar="NAME", help="which folders, in this order")
    parser.add_argument("--count", type=int, default=7, help="how many of them where none is named (default: 7)")
    parser.add_argument("--preset", choices=("paper", "keep"), default="paper", help="of Train CNS Step (default: paper)")
    parser.add_argument("--strategy", default="concept", help="of Select Concept Neurons (default: concept)")
    parser.add_argument("--steps", type=int, default=500, help="of each training (default: 500)")
    parser.add_argument("--resolution", type=int, default=512, help="pixels (default: 512)")
    parser.add_argument("--priors", type=int, default=50, help="class images of each concept (default: 50)")
    parser.add_argument("--images", type=int, default=10, help="of each prompt (default: 10; the paper makes 50)")
    parser.add_argument("--sampling-steps", type=int, default=25, help="of each image (default: 25)")
    parser.add_argument(
        "--prompts", type=int, nargs=3, default=(5, 4, 3), metavar="N", help="for each concept, with two, with three (5 4 3)"
    )
    parser.add_argument(
        "--clip", default="clip-vit-base-patch32", metavar="DIR", help="the judge (default: that in models/cns_judges)"
    )
    parser.add_argument("--download", action="store_true", help="fetch it from Hugging Face if it is not there")
    parser.add_argument("--dino", type=Path, metavar="DIR", help="a second judge of likeness, such as DINO ViT-S/16")
    parser.add_argument("--out", type=Path, help="keeps it there, in a folder for each plan (default: in output)")
    arguments = parser.parse_args()
    if not arguments.checkpoint.is_file():
        parser.error(f"there is no checkpoint {arguments.checkpoint}")
    if not arguments.concepts.is_dir():
        parser.error(f"there is no folder {arguments.concepts}")
    if min(arguments.count, arguments.images) < 1:
        parser.error("--count and --images are at least 1")
    if Path(arguments.clip).is_dir():
        arguments.clip = Path(arguments.clip).resolve()
    if arguments.dino:
        arguments.dino = arguments.dino.resolve()
    return arguments


if __name__ == "__main__":
    sys.exit(main())
