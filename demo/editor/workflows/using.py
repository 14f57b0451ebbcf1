"""Workflows that use and look at a saved state."""

from __future__ import annotations

from demo.editor.canvas.parts import Flow
from demo.editor.graph import GREEN, PURPLE, find


def _checkpoint_and_state(flow: Flow, y: int, height: int):
    """The left column; ``height`` of the state's node, with room for its panel."""
    loaded = flow.loaders((0, y))
    stored = flow.add("CNS_LoadState", (0, y + 180), size=(340, height), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and state", (-20, y - 50, 380, height + 250))
    return loaded, stored


def multi_concept_generation(flow: Flow) -> None:
    flow.note((340, 250))
    loaded, stored = _checkpoint_and_state(flow, 320, 160)
    taught = flow.applied((420, 60), loaded, stored())
    prompt = "photo of a <new1> dog wearing a <new2> hat"
    image = flow.sampled((420, 260), taught, prompt, 2, 7)
    flow.group("2  Prompt and sample", (400, 0, 700, 780), GREEN)
    shown = flow.add("SaveImage", (1140, 60), "Pictures", (560, 620), images=image, filename_prefix="cns/two_concepts")
    text, sampler = (find(flow.prompt, kind)[0] for kind in ("CLIPTextEncode", "KSampler"))
    (loader,) = find(flow.prompt, "CheckpointLoaderSimple")
    flow.app = [(loader, "ckpt_name"), (stored, "state_name"), (text, "text"), (sampler, "seed")], [shown]
    flow.group("3  Result", (1120, 0, 600, 780), PURPLE)


def inspect(flow: Flow) -> None:
    flow.note((340, 300))
    loaded, stored = _checkpoint_and_state(flow, 360, 200)
    state = flow.add("CNS_InspectState", (420, 60), size=(300, 190), state=stored())  # with room for its panel
    flow.add("PreviewAny", (420, 320), "Summary", (300, 240), source=state("summary"))
    for column, plot in enumerate(("neurons", "layers", "overlaps")):
        shown = {"images": state(plot), "filename_prefix": f"cns/inspect_{plot}"}
        flow.add("SaveImage", (780 + 540 * column, 60), plot.capitalize(), (500, 480), **shown)
    flow.group("2  The state", (400, 0, 2000, 600), GREEN)
    prompts = flow.add("CNS_InspectPrompts", (420, 720), size=(320, 460), model=loaded[0], clip=loaded[1])
    for column, plot in enumerate(("shared", "similarity", "shares")):
        shown = {"images": prompts(plot), "filename_prefix": f"cns/inspect_{plot}"}
        flow.add("SaveImage", (780 + 540 * column, 720), plot.capitalize(), (500, 480), **shown)
    flow.group("3  Prompts of this checkpoint", (400, 660, 2000, 600), PURPLE)


def edit_and_export(flow: Flow) -> None:
    flow.note((340, 300))
    loaded, stored = _checkpoint_and_state(flow, 370, 200)
    model, clip, vae = loaded
    changed = flow.add("CNS_RemoveConcept", (420, 60), size=(340, 300), model=model, clip=clip, state=stored(), token="<new1>")
    flow.add("PreviewAny", (420, 460), "What is left of it", (340, 280), source=changed("summary"))
    flow.group("2  Take a concept out", (400, 0, 380, 770), GREEN)
    less = changed("state")
    flow.add("CNS_SaveState", (820, 60), size=(340, 0), state=less, filename_prefix="cns/without_new1")
    exported = flow.add(
        "CNS_ExportState", (820, 240), size=(340, 0), model=model, clip=clip, vae=vae, state=less, target="LoRA"
    )
    flow.add("PreviewAny", (820, 560), "Its files", (340, 180), source=exported("summary"))
    flow.group("3  Save and export", (800, 0, 380, 770), PURPLE)
    taught = flow.applied((1220, 60), loaded, less)
    image = flow.sampled((1220, 260), taught, "photo of a <new2> hat", 2, 7)
    flow.group("4  Prompt and sample", (1200, 0, 700, 840))
    flow.add("SaveImage", (1940, 60), "Pictures", (560, 700), images=image, filename_prefix="cns/without_new1")
    flow.group("5  Result", (1920, 0, 600, 840), PURPLE)
