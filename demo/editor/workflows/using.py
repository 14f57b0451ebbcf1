"""Workflows that use and look at a saved state."""

from __future__ import annotations

from demo.editor.canvas.parts import applied, loaders, sampled
from demo.editor.graph import GREEN, PURPLE, Graph, find


def _checkpoint_and_state(flow: Graph, y: int, height: int):
    """The left column; ``height`` of the state's node, with room for its panel."""
    loaded = loaders(flow, (0, y))
    stored = flow.add("CNS_LoadState", (0, y + 180), size=(340, height), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and state", (-20, y - 50, 380, height + 250))
    return loaded, stored


def multi_concept_generation(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 250),
        "## Use several concepts in one prompt\nChoose the checkpoint the state was made for, and your state in **Load CNS "
        "State**: the one *continual_training* saved, or another whose tokens you then use (not in the list? press **R**)."
        "\n\nWrite each token beside its noun: `<new1> dog`, `<new2> hat`. Weights such as `(<new1>:1.2)` work. `strength` 0 "
        "uses the checkpoint's own weights.",
    )
    loaded, stored = _checkpoint_and_state(flow, 320, 160)
    taught = applied(flow, (420, 60), loaded, stored())
    prompt = "photo of a <new1> dog wearing a <new2> hat"
    image = sampled(flow, (420, 260), taught, prompt, 2, 7)
    flow.group("2  Prompt and sample", (400, 0, 700, 780), GREEN)
    shown = flow.add("SaveImage", (1140, 60), "Pictures", (560, 620), images=image, filename_prefix="cns/two_concepts")
    text, sampler = (find(flow.prompt, kind)[0] for kind in ("CLIPTextEncode", "KSampler"))
    (loader,) = find(flow.prompt, "CheckpointLoaderSimple")
    flow.app = [(loader, "ckpt_name"), (stored, "state_name"), (text, "text"), (sampler, "seed")], [shown]
    flow.group("3  Result", (1120, 0, 600, 780), PURPLE)


def inspect(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 300),
        "## What is in a state, and what does a prompt select?\n**Inspect CNS State** shows where each concept's neurons "
        "are, how many, and which are shared. It needs no checkpoint. Choose your state in **Load CNS "
        "State**.\n\n**Inspect Prompt Neurons** draws the paper's figures 3 and 7 "
        "for your checkpoint and your prompts.",
    )
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


def edit_and_export(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 300),
        "## Change a state, and take it elsewhere\n**Remove CNS Concept** takes one concept out of a state, without its "
        "pictures; the others stay, and its token is free again.\n\nTo leave a concept out of some pictures only, write "
        "`<new1> 0` into `concept_strengths` of **Apply CNS State**, or press *mute* in its list.\n\n**Export CNS State** "
        "writes files for Load LoRA, A1111, Forge, InvokeAI, diffusers, or a whole checkpoint: choose a `target`.",
    )
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
    taught = applied(flow, (1220, 60), loaded, less)
    image = sampled(flow, (1220, 260), taught, "photo of a <new2> hat", 2, 7)
    flow.group("4  Prompt and sample", (1200, 0, 700, 840))
    flow.add("SaveImage", (1940, 60), "Pictures", (560, 700), images=image, filename_prefix="cns/without_new1")
    flow.group("5  Result", (1920, 0, 600, 840), PURPLE)


def evaluate(flow: Graph) -> None:
    """No template, as it needs a judge: the help page's picture is taken of it."""
    pictures = flow.add("LoadImage", (0, 0), size=(300, 300))
    concept = flow.add("CNS_CaptionConceptImages", (340, 0), images=pictures("IMAGE"), noun="dog")
    made = flow.add("LoadImage", (0, 380), size=(300, 300))
    scores = flow.add(
        "CNS_EvaluateImages", (760, 0), images=made("IMAGE"), concept=concept("concept"), prompts="a <new1> dog on a beach"
    )
    flow.add("PreviewAny", (1160, 0), size=(320, 260), source=scores("summary"))
