"""Workflows with a prompt for each part of the picture."""

from __future__ import annotations

from contextlib import nullcontext

from demo.editor.canvas.parts import DEMO, DEMO_TRAINING, ROW, ROW_HEIGHT, SD15, Flow, Sampling
from demo.editor.graph import GREEN, PURPLE
from demo.editor.workflows.on_the_demo_model import TOUR_CALIBRATION
from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.scene import with_article

PAIR = ("bee", "panda")  # both are animals
SEAM = 3 / 16  # of the width, over which one half fades into the other


def two_of_a_kind(flow: Flow) -> None:
    flow.note((340, 400))
    loaded = flow.loaders((0, 470))
    stored = flow.add("CNS_LoadState", (0, 640), size=(340, 200), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and state", (-20, 420, 380, 440))
    dogs = ("a <new1> dog", "a <new2> dog")
    prompts = [f"photo of two dogs in a park, {which}" for which in (" and ".join(dogs), *dogs)]
    _with_and_without(flow, 400, 2, loaded, stored(), prompts, SD15)


def two_of_a_kind_no_gpu(flow: Flow) -> None:
    noun = NEW_CONCEPTS[PAIR[0]].noun
    flow.note((340, 380))
    loaded, general = flow.demo_model_and_general(440, TOUR_CALIBRATION)
    state = None
    for row, name in enumerate(PAIR):
        y, token = ROW * row, f"<new{row + 1}>"
        material = flow.demo_material((420, y + 60), name, token)
        described, chosen = flow.chosen_in_one((760, y + 60), loaded, general, material, state)
        settings = {**DEMO_TRAINING, "preview_every": 0}
        state = flow.train((1140, y + 60), loaded, described, chosen, material, state, **settings)()
        flow.group(f"{row + 2}  Teach {token} ({name})", (400, y, 1120, ROW_HEIGHT), GREEN)
    flow.add("CNS_SaveState", (1140, ROW + 950), size=(360, 200), state=state, filename_prefix="cns/two_of_a_kind")
    both = [with_article(f"<new{number}> {noun}") for number in (1, 2)]
    prompts = [f"{' and '.join(both)} on a beach", *(f"{one} left of {one} on a beach" for one in both)]
    _with_and_without(flow, 1560, 4, loaded, state, prompts, DEMO)


def _with_and_without(flow: Flow, x: int, number: int, loaded, state, prompts: list[str], sampling: Sampling) -> None:
    """From a state to pictures with and without regions; groups are numbered from ``number``. ``prompts``: of the picture,
    of the left half and of the right one; on the demo model these two are in a subgraph.
    """
    count, folded = (6, True) if sampling is DEMO else (2, False)
    model, clip, vae = flow.applied((x + 20, 60), loaded, state, 460)
    with flow.subgraph("Left and right half", (x + 20, 260), (300, 0)):
        left, right = _halves(flow)
    flow.group(f"{number}  The concepts, and where they are", (x, 0, 500, 840))
    x += 520
    with flow.subgraph("A prompt for each", (x + 20, 60), (340, 0)) if folded else nullcontext() as box:
        sides = zip((left, right), prompts[1:], strict=True)
        regional = _regions(flow, (0, 0) if folded else (x + 20, 60), model, clip, sides)
        if box is not None:
            box.shown += [(node, "text") for node in box.nodes if flow.prompt[node]["class_type"] == "CLIPTextEncode"]
    width = 380 if folded else 690
    flow.group(f"{number + 1}  A prompt for each", (x, 0, width, 840), GREEN)
    x += width + 20
    for row, (title, used) in enumerate({"With regions": regional, "Without": model}.items()):
        y = 860 * row
        image = flow.drawn((x + 20, y + 60), (used, clip, vae), prompts[0], count, 7, sampling)
        shown = {"images": image, "filename_prefix": f"cns/two_of_a_kind_{row + 1}"}
        flow.add("SaveImage", (x + 380, y + 60), title, (560, 620), **shown)
        flow.group(f"{number + 2 + row}  {title}", (x, y, 960, 840), PURPLE)


def _regions(flow: Flow, at: tuple[int, int], model, clip, sides):
    """MODEL with a region for each mask and prompt."""
    regions = None
    for row, (mask, text) in enumerate(sides):
        x, y = at[0], at[1] + 300 * row
        said = flow.add("CLIPTextEncode", (x, y), size=(320, 0), clip=clip, text=text)()
        title = "Region: right" if row else "Region: left"
        region = flow.add("CNS_Region", (x + 350, y), title, (300, 230), conditioning=said, mask=mask, regions=regions)
        regions = region()
    return flow.add("CNS_ApplyRegions", (at[0] + 350, at[1] + 600), size=(300, 0), model=model, regions=regions)()


def _halves(flow: Flow):
    """Masks of the left and the right half, with a soft seam."""
    nothing = flow.add("SolidMask", (0, 0), "Nothing", (220, 0), value=0.0, width=512, height=512)()
    seam = round(SEAM * 512)
    half = {"value": 1.0, "width": 256 + seam // 2, "height": 512}
    half = flow.add("SolidMask", (240, 0), "A half", (220, 0), **half)()
    soft = flow.add("FeatherMask", (240, 180), size=(220, 0), mask=half, right=seam)()
    left = flow.add("MaskComposite", (0, 180), "Left", (220, 0), destination=nothing, source=soft, x=0, y=0, operation="add")()
    right = flow.add("InvertMask", (0, 380), "Right", (220, 0), mask=left)()
    return left, right
