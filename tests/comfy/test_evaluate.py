"""``python dev.py evaluate``: the layouts it reads, what it teaches, draws and scores on a tiny checkpoint, and its report."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import comfy.sd
import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.evaluate import run
from benchmarks.evaluate.evaluation import Evaluation, Plan
from benchmarks.evaluate.layouts import chosen, find_subjects
from benchmarks.evaluate.prompts import Counts, multi_prompts, single_prompts
from benchmarks.evaluate.report import report
from cns_core.comfy_adapter.checkpoint.checkpoint import Checkpoint
from cns_core.comfy_adapter.judge import load_judge
from cns_core.concept import Concept
from cns_core.config import TrainConfig
from cns_core.errors import CNSError
from cns_core.state_file import load_state
from demo.model import load_demo_model
from tests.support.tiny_judges import tiny_clip, tiny_dino


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def told(root: Path) -> list[tuple[str, str]]:
    return [(subject.name, subject.noun) for subject in find_subjects(root)]


def test_dreambench(tmp_path):
    for name in ("bear_plushie", "dog3", "dog10"):
        picture(tmp_path / name / "00.jpg")
    (tmp_path / "prompts_and_classes.txt").write_text("Classes\n\nsubject_name,class\nbear_plushie,stuffed animal\n\nPrompts\n")
    assert told(tmp_path) == [("bear_plushie", "stuffed animal"), ("dog3", "dog"), ("dog10", "dog")]


def test_cifc(tmp_path):
    for name in ("duck_toy", "cat2"):
        picture(tmp_path / "images" / name / "01.jpg")
    (tmp_path / "caption" / "cat2").mkdir(parents=True)
    (tmp_path / "caption" / "cat2" / "01.txt").write_text("cat sitting on a stair rail")
    assert told(tmp_path) == [("cat2", "cat"), ("duck_toy", "duck toy")]
    cat, duck = (subject.read("<new1>", 64) for subject in find_subjects(tmp_path))
    assert cat.captions == ("cat sitting on a stair rail",)
    assert duck.captions == ("a photo of a duck toy",)


def test_custom_concept_101(tmp_path):
    picture(tmp_path / "benchmark_dataset" / "scene_barn" / "1.jpeg")
    entries = [
        {"class_prompt": noun, "instance_data_dir": f"./benchmark_dataset/{folder}"}
        for noun, folder in (("barn", "scene_barn"), ("cup", "not_downloaded"))
    ]
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    assert told(tmp_path) == [("scene_barn", "barn")]
    (tmp_path / "dataset.json").write_text(json.dumps(entries[1:]))
    with pytest.raises(CNSError, match="holds none of the folders that its dataset"):
        find_subjects(tmp_path)


def test_masks_and_captions_are_read_as_the_nodes_read_them(tmp_path, capsys):
    """01 has a mask and captions of both kinds, 02 has none; what else is there is named."""
    dog = tmp_path / "dog"
    for name in ("01.png", "01-condlabel.png", "02.png"):
        picture(dog / name)
    mask = Image.new("L", (90, 70))
    mask.paste(255, (0, 0, 45, 70))
    mask.save(dog / "01-masklabel.png")
    (dog / "01.txt").write_text("a dog on grass")
    (dog / "01.caption").write_text("not this")
    (dog / "02.caption").write_text("a dog in snow")
    (subject,) = find_subjects(tmp_path)
    concept = subject.read("<new1>", 64)
    assert concept.captions == ("a dog on grass", "a dog in snow")
    assert [image.shape for image in concept.images] == [(64, 82, 3)] * 2
    assert concept.masks[1] is None
    assert concept.masks[0].shape == (64, 82)
    assert concept.masks[0][:, :40].min() == 1
    assert concept.masks[0][:, 42:].max() == 0
    assert capsys.readouterr().out.splitlines() == [
        "dog: 2 pictures, 2 with a caption, 1 with a mask: 01.png, 02.png.",
        "01.png, 02.png: scaled down to 64 px on the shorter side.",
        "01-condlabel.png: left out (conditioning image).",
        "01.caption: left out (01.txt takes precedence).",
    ]


def test_what_is_taught_can_be_chosen(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / name / "1.png")
    subjects = find_subjects(tmp_path)
    assert [subject.name for subject in chosen(subjects, [], 2)] == ["a", "b"]
    assert [subject.name for subject in chosen(subjects, ["c", "a"], 7)] == ["c", "a"]
    with pytest.raises(CNSError, match="There is no concept 'd': choose from a, b, c"):
        chosen(subjects, ["d"], 7)
    with pytest.raises(CNSError, match="holds no folders with pictures"):
        find_subjects(tmp_path / "a")


@pytest.fixture
def evaluation(tmp_path, monkeypatch) -> Evaluation:
    """Two concepts of three pictures on the demo model, with judges of a few random weights."""
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    for number, name in enumerate(("dog", "red_hat")):
        for image in range(3):
            picture(tmp_path / "photographs" / name / f"{image}.png", 10 * number + image)
    subjects = find_subjects(tmp_path / "photographs")
    concepts = [subject.read(f"<new{number}>", 64) for number, subject in enumerate(subjects, start=1)]
    tiny_clip(tmp_path / "clip")
    tiny_dino(tmp_path / "dino")
    judges = {"CLIP-I": load_judge(str(tmp_path / "clip")), "DINO": load_judge(str(tmp_path / "dino"))}
    plan = Plan(TrainConfig(steps=2, resolution=64, neuron_lr=1e-3), "all K/V", 1, 2, 2, Counts(2, 1, 1))
    with torch.inference_mode():
        return Evaluation(Checkpoint(*load_demo_model()), concepts, judges, plan, tmp_path / "kept")


def test_a_sequence_is_taught_scored_and_kept(evaluation):
    results = evaluation.run()
    one, two = results["after"]
    assert (list(one), list(two)) == (["<new1> dog"], ["<new1> dog", "<new2> red hat"])
    values = two["<new2> red hat"][0]
    assert {measure: len(each) for measure, each in values.items()} == {"CLIP-T": 2, "CLIP-I": 2, "DINO": 2}
    assert [len(prompts) for prompts in (one["<new1> dog"], results["multi"])] == [2, 1]  # nothing has three concepts
    assert one["<new1> dog"][0] != two["<new1> dog"][0]
    assert set(results["ceilings"]["DINO"]) == {"<new1> dog", "<new2> red hat"}
    assert len(load_state(evaluation.folder / "2.safetensors").concepts) == 2
    assert len(list(evaluation.folder.glob("after 2/*.png"))) == 2 * (2 + 2 + 1)
    files = {path: path.stat().st_mtime_ns for path in evaluation.folder.rglob("*")}
    assert evaluation.run() == results
    assert {path: path.stat().st_mtime_ns for path in evaluation.folder.rglob("*")} == files  # nothing was done again
    evaluation.folder.joinpath("scores.json").unlink()
    next(evaluation.folder.glob("after 2/*.png")).unlink()
    assert evaluation.run() == results  # what is missing comes out the same


def made_once(evaluation: Evaluation) -> dict[Path, int]:
    """States and pictures, and when they were written."""
    files = [path for path in evaluation.folder.rglob("*") if path.suffix in (".safetensors", ".png")]
    return {path: path.stat().st_mtime_ns for path in files}


def test_another_judge_sees_the_pictures_that_are_there(evaluation):
    alone = replace(evaluation, judges={"CLIP-I": evaluation.judges["CLIP-I"]}, scores="alone.json").run()
    before = made_once(evaluation)
    both = evaluation.run()
    assert before
    assert made_once(evaluation) == before
    assert [set(results["ceilings"]) for results in (alone, both)] == [{"CLIP-I"}, {"CLIP-I", "DINO"}]


def test_the_folder_is_named_by_what_is_taught_and_not_by_the_judges(evaluation, monkeypatch, tmp_path):
    checkpoint = tmp_path / "sd15.safetensors"
    checkpoint.touch()
    concepts, plan = evaluation.concepts, Plan(TrainConfig(), "concept", 1, 1, 1)
    brighter = replace(concepts[1], images=tuple(image + 0.1 for image in concepts[1].images))
    given = ["evaluate", "--comfyui", ".", "--base", "."]
    given += ["--checkpoint", str(checkpoint), "--concepts", str(tmp_path)]

    def name(*more: str, second: Concept = concepts[1]) -> str:
        monkeypatch.setattr("sys.argv", [*given, *more])
        return run._name(run.parse(), plan, [concepts[0], second])

    assert name() == name("--dino", str(tmp_path)) == name("--clip", str(tmp_path))
    others = [brighter, replace(concepts[1], captions=("a hat",) * 3), replace(concepts[1], noun="cap")]
    assert len({name(), name("--preset", "keep"), *(name(second=other) for other in others)}) == 5


def test_the_command_keeps_what_each_judge_says(monkeypatch, tmp_path, capsys):
    checkpoint = tmp_path / "sd15.safetensors"
    checkpoint.touch()
    monkeypatch.setattr(comfy.sd, "load_checkpoint_guess_config", lambda path: load_demo_model())
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", deepcopy(folder_paths.folder_names_and_paths))
    for name in ("dog", "hat"):
        picture(tmp_path / "photographs" / name / "1.png")
    given = ["evaluate", "--comfyui", ".", "--base", str(tmp_path), "--checkpoint", str(checkpoint)]
    given += ["--concepts", str(tmp_path / "photographs"), "--prompts", "1", "1", "0", "--resolution", "64"]
    given += [text for name in ("steps", "priors", "images", "sampling-steps") for text in (f"--{name}", "1")]
    tiny_clip(tmp_path / "clip")
    tiny_dino(tmp_path / "dino")
    for more in ([], ["--dino", str(tmp_path / "dino")]):
        monkeypatch.setattr("sys.argv", [*given, "--clip", str(tmp_path / "clip"), *more])
        assert run.main() == 0
    assert "CLIP-I after" in capsys.readouterr().out
    found = [json.loads(file.read_text()) for file in tmp_path.rglob("results-*.json")]
    judges = {tuple(results["ceilings"]): [Path(judge).name for judge in results["judges"]] for results in found}
    assert judges == {("CLIP-I",): ["clip"], ("CLIP-I", "DINO"): ["clip", "dino"]}
    assert len(list(tmp_path.rglob("results-*.md"))) == len(list(tmp_path.rglob("scores-*.json"))) == 2
    assert [results["concepts"] for results in found] == [["dog", "hat"]] * 2


def test_a_folder_of_ones_own_holds_one_for_each_plan(monkeypatch, tmp_path):
    """Or one plan's states would pass for another's."""
    (tmp_path / "sd15.safetensors").touch()
    monkeypatch.setattr(comfy.sd, "load_checkpoint_guess_config", lambda path: load_demo_model())
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", deepcopy(folder_paths.folder_names_and_paths))
    picture(tmp_path / "photographs" / "dog" / "1.png")
    tiny_clip(tmp_path / "clip")
    given = ["evaluate", "--comfyui", ".", "--base", str(tmp_path), "--checkpoint", str(tmp_path / "sd15.safetensors")]
    given += ["--concepts", str(tmp_path / "photographs"), "--prompts", "1", "0", "0", "--resolution", "64"]
    given += [text for name in ("priors", "images", "sampling-steps") for text in (f"--{name}", "1")]
    for steps in ("1", "2"):
        more = ["--clip", str(tmp_path / "clip"), "--out", str(tmp_path / "mine"), "--steps", steps]
        monkeypatch.setattr("sys.argv", [*given, *more])
        assert run.main() == 0
    assert len(list((tmp_path / "mine").glob("*/1.safetensors"))) == 2


def test_prompts_are_as_many_as_in_the_paper(evaluation):
    seven = [evaluation.concepts[0]] * 7
    assert sum(len(single_prompts(concept, Counts())) for concept in seven) == 35
    several = multi_prompts(seven, Counts())
    assert [len(prompt.concepts) for prompt in several] == [2] * 4 + [3] * 3
    assert single_prompts(evaluation.concepts[1], Counts(1))[0].text == "a <new2> red hat on the beach"


def test_no_prompt_is_drawn_twice(evaluation):
    most = Counts(5, 4, 4)
    prompts = single_prompts(evaluation.concepts[0], most) + multi_prompts([evaluation.concepts[0]] * 3, most)
    assert len({prompt.text for prompt in prompts}) == len(prompts) == 13
    for counts in ((6, 4, 3), (5, 5, 3), (5, 4, 5), (5, -1, 3)):
        with pytest.raises(CNSError, match="at most 5 different prompts for each concept, 4 with two and 4 with three"):
            Counts(*counts)


def test_the_report_by_hand():
    one = {"CLIP-T": [0.5, 1.0], "CLIP-I": [0.8, 0.4]}  # the second is better in all: 1.4 against 1.3
    two = {"CLIP-T": [0.75, 0.75], "CLIP-I": [0.6, 0.8]}
    results = {
        "after": [{"<new1> dog": [one]}, {"<new1> dog": [two], "<new2> hat": [one]}],
        "multi": [two],
        "ceilings": {"CLIP-I": {"<new1> dog": 0.9, "<new2> hat": float("nan")}},
    }
    lines = report(results, 2).splitlines()
    assert "| × 100 | mean of 2 | best of 2 | paper, best of 50 |" in lines
    assert "| CLIP-T, one (2.5 · cosine) | 75.00 | 87.50 | 76.95 |" in lines
    assert "| CLIP-T, one (cosine) | 30.00 | 35.00 |  |" in lines
    assert "| CLIP-I, one | 65.00 | 60.00 | 74.88 |" in lines
    assert "| CLIP-I, several | 70.00 | 80.00 | 67.21 |" in lines
    assert "| <new1> dog | 60.00 | 70.00 | 90.00 |" in lines
    assert "| <new2> hat |  | 60.00 |  |" in lines
