"""Judges as files hold them: the same scores as the formulas on transformers' own features."""

from __future__ import annotations

import math
from dataclasses import replace

import folder_paths
import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.folders import JUDGES
from cns_pack.cns_core.comfy_adapter.judge import MODELS, judge_names, judged, load_judge
from cns_pack.cns_core.concept import Concept
from cns_pack.cns_core.errors import CNSError
from cns_pack.cns_core.evaluation import as_table, prompt_of_each, spoken, told
from cns_pack.cns_core.judge import CLIP, DINO
from cns_pack.nodes.inspect.evaluate_images import EvaluateImages
from torch.nn.functional import cosine_similarity
from transformers import CLIPTokenizer

from tests.support.tiny_judges import tiny_clip, tiny_dino

PROMPTS = ["a <new1> dog on a beach", "photo of a (<new2>:1.3) in the snow", "a house, very detailed " + "and more " * 80]
READ = ["a dog on a beach", "photo of a hat in the snow", PROMPTS[2]]


def pictures(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(240 + 8 * number, 300, 3, generator=generator) for number in range(count))


IMAGES = pictures(3, 0)
DOG = Concept("<new1>", "dog", pictures(3, 1), ("a dog",) * 3)
HAT = Concept("<new2>", "hat", pictures(1, 2), ("a hat",))


@pytest.fixture
def judges(tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, JUDGES, ([str(tmp_path)], set()))
    return tmp_path


def test_clip_scores_are_the_formulas(judges):
    model = tiny_clip(judges / "clip")
    scores = judged(load_judge("clip"), IMAGES, PROMPTS, [DOG, HAT])
    with torch.inference_mode():
        tokenizer = CLIPTokenizer.from_pretrained(judges / "clip", model_max_length=77)
        said = model.get_text_features(**tokenizer(READ, padding=True, truncation=True, return_tensors="pt"))
        seen, dog, hat = (model.get_image_features(pixel_values=CLIP(images)) for images in (IMAGES, DOG.images, HAT.images))
        text = [max(0.0, 2.5 * cosine_similarity(a, b, 0).item()) for a, b in zip(seen, said, strict=True)]
        alike = [
            np.mean([cosine_similarity(seen[0], own, 0).item() for own in dog]),
            cosine_similarity(seen[1], hat[0], 0).item(),
        ]
        pairs = [cosine_similarity(dog[i], dog[j], 0).item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert scores.text.tolist() == pytest.approx(text, abs=1e-6)
    assert scores.alike["<new1> dog"].tolist() == pytest.approx([alike[0], math.nan, math.nan], abs=1e-6, nan_ok=True)
    assert scores.alike["<new2> hat"].tolist() == pytest.approx([math.nan, alike[1], math.nan], abs=1e-6, nan_ok=True)
    assert scores.ceilings["<new1> dog"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert scores.means == pytest.approx({"CLIP-T": np.mean(text), "<new1> dog": alike[0], "<new2> hat": alike[1]}, abs=1e-6)


def test_dino_reads_no_text(judges):
    model = tiny_dino(judges / "dino")
    scores = judged(load_judge("dino"), IMAGES, PROMPTS, [DOG])
    with torch.inference_mode():
        seen, own = (model(pixel_values=DINO(images)).last_hidden_state[:, 0] for images in (IMAGES, DOG.images))
        alike = np.mean([cosine_similarity(seen[0], one, 0).item() for one in own])
    assert scores.text is None
    assert scores.alike["<new1> dog"][0] == pytest.approx(alike, abs=1e-6)


def test_prompts_are_read_without_tokens():
    assert spoken("a <new1> dog and a <NEW2>", [DOG, HAT]) == "a dog and a hat"
    assert prompt_of_each(["a", "b"], 4) == ["a", "a", "b", "b"]
    with pytest.raises(CNSError, match="3 images cannot be divided evenly among 2 prompts"):
        prompt_of_each(["a", "b"], 3)


def test_people_are_told(judges):
    tiny_clip(judges / "clip")
    scores = judged(load_judge("clip"), [DOG.images[0], IMAGES[1]], PROMPTS[:2], [DOG, HAT])
    lines = told(scores)
    assert f"CLIP-T {scores.text.mean():.4f}" in lines[0]
    assert f"plain cosine {scores.text.mean() / 2.5:.4f}" in lines[0]
    assert lines[1].endswith(": the model copies them")  # it is one of the concept's own
    assert "its own images" not in lines[2]  # there is only one
    assert as_table(scores).splitlines()[3].startswith("| 2 | `photo of a (<new2>:1.3) in the snow` | ")
    chosen = replace(scores, prompts=("a {red|blue}\n<new1>", scores.prompts[1]))
    assert as_table(chosen).splitlines()[2].startswith("| 1 | `a {red\\|blue} <new1>` | ")


def test_folders_that_are_no_judges(judges):
    (judges / "bert").mkdir()
    (judges / "bert" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(CNSError, match="has no weights"):
        load_judge("bert")
    (judges / "bert" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CNSError, match="a model of type 'bert', but a judge must be a CLIP or a ViT"):
        load_judge("bert")
    tiny_clip(judges / "clip")
    (judges / "clip" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(CNSError, match="cannot be loaded"):
        load_judge("clip")
    (judges / "clip" / "config.json").write_text('{"model_type": "cl', encoding="utf-8")
    with pytest.raises(CNSError, match=r"cannot be loaded \(JSONDecodeError: .*: get its files again"):
        load_judge("clip")
    with pytest.raises(CNSError, match=r"turn on download_judge to fetch it \(0.6 GB\)"):
        load_judge("clip-vit-base-patch32")
    assert judge_names() == [*MODELS.known, "bert", "clip"]


def test_the_node(judges):
    tiny_clip(judges / "clip")
    batch = torch.stack([image[:240] for image in IMAGES[:2]])
    inputs = {"images": [batch], "prompts": ["\n".join(PROMPTS[:2])], "judge": ["clip"], "download_judge": [False]}
    summary, table, plot, scores = EvaluateImages.execute(**inputs, concept=[DOG]).result
    assert summary.startswith("- CLIP-T 0.")
    assert len(table.splitlines()) == 4
    assert plot.shape[-1] == 3
    assert len(scores) == 2
