"""What the editor learns about the nodes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {
    "CNS_CaptionConceptImages": "Caption Concept Images",
    "CNS_ComputeBaseNeurons": "Compute Base Neurons",
    "CNS_ComputeGeneralNeurons": "Compute General Neurons",
    "CNS_SelectConceptNeurons": "Select Concept Neurons",
    "CNS_TrainStep": "Train CNS Step",
    "CNS_MakePriorImages": "Make Prior Images",
    "CNS_TeachFolder": "Teach Folder",
    "CNS_ApplyState": "Apply CNS State",
    "CNS_Region": "Region",
    "CNS_ApplyRegions": "Apply Regions",
    "CNS_SaveState": "Save CNS State",
    "CNS_LoadState": "Load CNS State",
    "CNS_LoadConceptImages": "Load Concept Images",
    "CNS_LoadDemoModel": "Load CNS Demo Model",
    "CNS_DemoConcept": "Demo Concept Images",
    "CNS_InspectState": "Inspect CNS State",
    "CNS_InspectPrompts": "Inspect Prompt Neurons",
    "CNS_EvaluateImages": "Evaluate CNS Images",
    "CNS_RemoveConcept": "Remove CNS Concept",
    "CNS_ExportState": "Export CNS State",
}


@pytest.fixture(scope="module")
def nodes(server):
    return {name: info for name, info in server.object_info().items() if name.startswith("CNS_")}


def test_ids_and_display_names(nodes):
    assert {name: info["display_name"] for name, info in nodes.items()} == NAMES


def test_everything_has_a_tooltip(nodes):
    for name, info in nodes.items():
        assert info["description"], name
        for section in ("required", "optional"):
            for input_name, spec in info["input"].get(section, {}).items():
                assert spec[1].get("tooltip"), f"{name}.{input_name}"
        assert all(info["output_tooltips"]), name


def _defaults(info: dict) -> dict:
    specs = {**info["input"]["required"], **info["input"].get("optional", {})}
    return {name: spec[1]["default"] for name, spec in specs.items() if "default" in spec[1]}


def test_defaults_come_from_the_configuration(nodes):
    from cns_pack.cns_core.config import PriorConfig, SelectionConfig, TrainConfig

    for name, value in TrainConfig().to_dict().items():
        assert _defaults(nodes["CNS_TrainStep"])[name] == value, name
    given = {"prior_images": PriorConfig().count} | TrainConfig().to_dict()
    folder = _defaults(nodes["CNS_TeachFolder"])
    assert {name: folder[name] for name in given.keys() & folder.keys()} == {
        name: given[name] for name in given.keys() & folder.keys()
    }
    assert given.keys() - folder.keys() == {"initial_word"}
    names = {"sampler_name": "sampler"}
    for name, value in _defaults(nodes["CNS_MakePriorImages"]).items():
        if name not in {"noun", "prompts"}:
            assert value == getattr(PriorConfig(), names.get(name, name)), name
    general = nodes["CNS_ComputeGeneralNeurons"]["input"]["required"]
    assert general["top_percent"][1]["default"] == 100 * SelectionConfig().top_fraction
    assert general["count"][1]["default"] == SelectionConfig().calibration_count
    assert len(general["calibration_prompts"][1]["default"].splitlines()) == 100


@pytest.mark.parametrize("page", ["{}.md", "{}/zh.md"])  # where the editor looks for it, in English and in Chinese
def test_every_node_has_a_help_page_that_names_its_inputs_and_outputs(nodes, page):
    for name, info in nodes.items():
        text = (ROOT / "web" / "docs" / page.format(name)).read_text(encoding="utf-8")
        for section in ("required", "optional"):
            for input_name in info["input"].get(section, {}):
                assert f"`{input_name}`" in text, f"{page.format(name)} does not explain {input_name}"
        for output_name in info["output_name"]:
            assert re.search(rf"[| ,、]{output_name}[ ,、]", text), f"{page.format(name)} does not explain {output_name}"
