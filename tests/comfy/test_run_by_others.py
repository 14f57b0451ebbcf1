"""Programs other than ComfyUI's server run the nodes, and prompts come by API: hidden inputs may be missing or nonsense."""

from __future__ import annotations

import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.folders import STATES
from cns_pack.nodes.apply.apply_state import ApplyState
from cns_pack.nodes.caption.caption_concept_images import CaptionConceptImages
from cns_pack.nodes.caption.load_concept_images import LoadConceptImages
from cns_pack.nodes.common import checkpoint_name, node_id, prompt_nodes, workflow_id
from cns_pack.nodes.files.load_state import LoadState
from cns_pack.nodes.files.save_state import SaveState
from cns_pack.nodes.inspect.inspect_prompts import InspectPrompts
from cns_pack.nodes.inspect.inspect_state import InspectState
from cns_pack.nodes.neurons.compute_base_neurons import ComputeBaseNeurons
from cns_pack.nodes.neurons.compute_general_neurons import ComputeGeneralNeurons
from cns_pack.nodes.neurons.select_concept_neurons import SelectConceptNeurons
from cns_pack.nodes.train.train_step import TrainStep
from comfy_api.latest import io
from PIL import Image

CAPTIONS = "a dog on grass\na small dog in snow"
NONSENSE = [None, "", "text", 5, 0.5, [], ["workflow"], {}, {"workflow": "text"}, {"workflow": {}}, {"workflow": {"id": 7}}]


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    states = ([str(tmp_path / "output" / STATES)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, STATES, states)
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    (tmp_path / "input" / "dog").mkdir(parents=True)
    Image.new("RGB", (64, 64), "brown").save(tmp_path / "input" / "dog" / "1.png")
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})


class Script:
    """Calls nodes one after another, as an exported workflow does; inference mode as in ComfyUI."""

    def __init__(self, hidden: dict | None) -> None:
        self.hidden = hidden

    def __call__(self, node: type[io.ComfyNode], **inputs: object) -> tuple:
        ready = node if self.hidden is None else node.PREPARE_CLASS_CLONE(self.hidden)
        with torch.inference_mode():
            return ready.EXECUTE_NORMALIZED(**inputs).args

    def teach_and_use(self, studio, wrapped) -> tuple:
        """All nodes that work on a checkpoint; ``wrapped`` makes of a value what nodes with ``is_input_list`` get."""
        loaded = {"model": studio.model, "clip": studio.clip}
        (picture,), *_ = self(LoadConceptImages, folder="dog")
        images = torch.cat([picture, torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(3))])
        given = {"images": images, "token": "<new1>", "noun": "dog", "captioner": "none", "download_captioner": False}
        given["captions"] = CAPTIONS
        concept, _ = self(CaptionConceptImages, **{name: wrapped(value) for name, value in given.items()})
        base, _ = self(ComputeBaseNeurons, **loaded, concept=concept, top_percent=30.0)
        calibration = "a house by a lake\ntwo red cars in the rain"
        general, _ = self(ComputeGeneralNeurons, **loaded, top_percent=30.0, count=2, seed=0, calibration_prompts=calibration)
        neurons, *_ = self(SelectConceptNeurons, base_neurons=base, general_neurons=general, strategy="concept", seed=0)
        settings = {**loaded, "vae": studio.vae, "concept": concept, "neurons": neurons, "steps": 1, "resolution": 128}
        settings |= {"preset": "keep", "preview_every": 0, "preview_prompt": "", "initial_word": "", "vectors": 1}
        settings |= {"prior_images": images, "prior_prompts": "photo of a dog"}
        state, _, summary = self(TrainStep, **{name: wrapped(value) for name, value in settings.items()})
        assert "- 2 of 2 concept images and 2 of 2 prior images were enlarged to 128 px" in summary
        assert "autosaved" in summary
        self(SaveState, state=state, filename_prefix="cns/mine")
        loaded_state, _ = self(LoadState, state_name="mine_00001_.safetensors")
        assert loaded_state.concepts[0].figures == {**state.concepts[0].figures, "images": 2, "prior_images": 2}
        applied = self(ApplyState, **loaded, state=loaded_state, strength=1.0)
        self(InspectState, state=state)
        self(InspectPrompts, **loaded, top_percent=30.0, queries="a dog", calibration_prompts="a house")
        return applied


def test_nodes_without_hidden_inputs(studio):
    assert TrainStep.hidden is None
    _, clip = Script(None).teach_and_use(studio, lambda value: [value])
    assert clip.tokenizer.cns_tokens.keys() == {"<new1>"}


def test_exported_scripts_hand_over_bare_values(studio):
    _, clip = Script(None).teach_and_use(studio, lambda value: value)
    assert clip.tokenizer.cns_tokens.keys() == {"<new1>"}


def test_nodes_with_nonsense_in_all_hidden_inputs(studio):
    hidden = {"UNIQUE_ID": ["7"], "EXTRA_PNGINFO": "text", "PROMPT": "text"}
    _, clip = Script(hidden).teach_and_use(studio, lambda value: [value])
    assert clip.tokenizer.cns_tokens.keys() == {"<new1>"}


def held(**values: object) -> io.HiddenHolder:
    return io.HiddenHolder.from_dict({io.Hidden[name]: value for name, value in values.items()})


def test_place_of_a_node_in_the_editor():
    hidden = held(unique_id="12:5", extra_pnginfo={"workflow": {"id": "a workflow"}})
    assert (node_id(hidden), workflow_id(hidden)) == ("12:5", "a workflow")
    assert node_id(held(unique_id=7)) == "7"


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_place_of_a_node_nowhere(value):
    assert workflow_id(held(extra_pnginfo=value)) is None
    assert workflow_id(held(extra_pnginfo={"workflow": value})) is None
    assert checkpoint_name(held(unique_id="7", prompt=value)) == ""
    assert checkpoint_name(held(unique_id="7", prompt={"7": value})) == ""
    assert checkpoint_name(held(unique_id="7", prompt={"7": {"inputs": value}})) == ""
    assert checkpoint_name(held(unique_id="7", prompt={"7": {"inputs": {"model": value}}})) == ""
    assert checkpoint_name(held(unique_id=value, prompt={"7": {"inputs": {"ckpt_name": "a.safetensors"}}})) == ""


@pytest.mark.parametrize("value", [*NONSENSE, {"7": {"inputs": {"steps": 5}, "_meta": "text"}}], ids=repr)
def test_placeholder_of_a_file_name_stays_where_nothing_fills_it(value, dog_state, tmp_path):
    hidden = {"PROMPT": value}
    _, path = Script(hidden)(SaveState, state=dog_state, filename_prefix="cns/mine %Train CNS Step.steps%")
    assert path == str(tmp_path / "output" / "cns" / "mine %Train CNS Step.steps%_00001_.safetensors")


def test_nothing_is_known():
    assert (node_id(None), workflow_id(None), checkpoint_name(None), prompt_nodes(None)) == (None, None, "", {})


def test_checkpoint_is_found_behind_other_nodes():
    prompt = {"1": {"inputs": {"ckpt_name": "a.safetensors"}}, "2": {"inputs": {"model": ["1", 0]}}}
    prompt["3"] = {"inputs": {"model": ["2", 0], "unet_name": ["4", 0]}}
    assert checkpoint_name(held(unique_id="3", prompt=prompt)) == "a.safetensors"
    prompt["2"]["inputs"]["model"] = ["3", 0]
    assert checkpoint_name(held(unique_id="3", prompt=prompt)) == ""  # in a circle
