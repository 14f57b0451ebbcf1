"""Subgraphs that the editor's node library offers, to build workflows of."""

from __future__ import annotations

from collections.abc import Callable

from demo.editor.canvas.parts import SD15, Flow
from demo.editor.graph import Box


def teach_a_concept(flow: Flow, box: Box) -> None:
    described = flow.add("CNS_CaptionConceptImages", (0, 0), size=(340, 0))
    base = flow.add("CNS_ComputeBaseNeurons", (0, 460), size=(340, 0), concept=described())
    chosen = flow.add("CNS_SelectConceptNeurons", (400, 460), size=(340, 0), base_neurons=base())
    trained = flow.add("CNS_TrainStep", (800, 0), size=(360, 0), concept=described(), neurons=chosen())
    flow.show(box, CNS_CaptionConceptImages="token noun captions captioner download_captioner")
    flow.show(box, CNS_TrainStep="steps resolution seed")
    box.ends = [(trained, 0), (trained, 1), (trained, 2)]


def use_concepts(flow: Flow, box: Box) -> None:
    state = flow.add("CNS_LoadState", (0, 0), size=(340, 200), state_name="concepts_00001_.safetensors")
    applied = flow.add("CNS_ApplyState", (400, 0), state=state("state"))
    texts = ("photo of a <new1> dog on a beach", SD15.negative)
    encoders = [
        flow.add("CLIPTextEncode", (760, 220 * row), size=(340, 0), clip=applied("clip"), text=text)
        for row, text in enumerate(texts)
    ]
    flow.show(box, CNS_LoadState="state_name", CLIPTextEncode="text", CNS_ApplyState="strength concept_strengths")
    box.ends = [(applied, 0), *((encoder, 0) for encoder in encoders)]


def two_of_a_kind(flow: Flow, box: Box) -> None:
    regions = None
    for row, (title, text) in enumerate({"Region: left": "a <new1> dog", "Region: right": "a <new2> dog"}.items()):
        said = flow.add("CLIPTextEncode", (0, 300 * row), size=(340, 0), text=f"photo of two dogs in a park, {text}")
        box.shown.append((said, "text"))
        region = flow.add("CNS_Region", (400, 300 * row), title, (300, 230), conditioning=said(), regions=regions)
        regions = region()
    model = flow.add("CNS_ApplyRegions", (760, 300), regions=regions)
    box.ends = [(model, 0)]


BLUEPRINTS: dict[str, Callable[[Flow, Box], None]] = {
    "Teach a concept": teach_a_concept,
    "Use concepts": use_concepts,
    "Two of a kind": two_of_a_kind,
}


def blueprint_of(title: str, object_info: dict) -> Flow:
    graph = Flow(object_info, title)
    with graph.subgraph(title, (0, 0), (340, 0)) as box:
        box.open = True
        BLUEPRINTS[title](graph, box)
    return graph
