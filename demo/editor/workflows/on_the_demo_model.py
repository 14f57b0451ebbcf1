"""Workflows on the demo model: they run anywhere."""

from __future__ import annotations

import random
from dataclasses import replace

from demo.editor.canvas.parts import DEMO, DEMO_PRIORS, DEMO_TRAINING, ROW, ROW_HEIGHT, Flow
from demo.editor.graph import GREEN, PURPLE
from demo.world.new_concepts import NEW_CONCEPTS, prior_prompts
from demo.world.scene import prompt, random_scene, with_article

TOUR_CALIBRATION = [prompt(random_scene(random.Random(number))) for number in range(20)]
CONCEPTS = ("fox", "candyland")  # of the tour: a thing, then a place
HELD = ("fox", "turtle")  # of with_and_without_l_reg


def no_gpu_tour(flow: Flow) -> None:
    thing, place = (NEW_CONCEPTS[name] for name in CONCEPTS)
    flow.note((340, 420))
    loaded, general = flow.demo_model_and_general(480, TOUR_CALIBRATION)
    named = with_article(f"<new1> {thing.noun}")
    alone = (f"{named} in a forest", f"a blue house {place.words('<new2>')}")
    state, states = None, []
    for row, (name, token) in enumerate(zip(CONCEPTS, ("<new1>", "<new2>"), strict=True)):
        y, concept = row * ROW, NEW_CONCEPTS[name]
        material = flow.demo_material((420, y + 60), name, token)
        half = DEMO_PRIORS["count"] // 2
        ordinary = "\n".join(prior_prompts(concept, random.Random(name), half, half))
        with flow.subgraph("Describe, choose neurons, draw ordinary ones", (760, y + 60), (340, 0)) as box:
            prior = flow.priors((380, 0), loaded, material.noun, prompts=ordinary, seed=row + 1, **DEMO_PRIORS)
            material = replace(material, prior=prior)
            described, chosen = flow.choose((0, 0), loaded, general, material, state)
            flow.show(box, CNS_CaptionConceptImages="token", CNS_MakePriorImages="count prompts")
        settings = {**DEMO_TRAINING, "preview_prompt": alone[row], "seed": row}
        state = flow.train((1140, y + 60), loaded, described, chosen, material, state, **settings)()
        states.append(state)
        flow.group(f"{row + 2}  Teach {token} ({name})", (400, y, 1120, ROW_HEIGHT), GREEN)
    flow.add("CNS_SaveState", (1140, ROW + 950), size=(360, 200), state=state, filename_prefix="cns/tour")
    shown = {
        "<new1> after the first step": alone[0],
        "<new1> after the second": alone[0],
        "<new2>": alone[1],
        "<new1> and <new2>": f"{named} {place.words('<new2>')}",
    }
    for column, (title, text) in enumerate(shown.items()):
        x, y = 1560 + 720 * (column % 2), 700 * (column // 2)
        image = flow.drawn((x + 20, y + 60), loaded, text, 6, 1, DEMO, states[min(column, 1)])
        flow.add("SaveImage", (x + 360, y + 60), title, (330, 480), images=image, filename_prefix=f"cns/tour_{column + 1}")
    flow.group("4  Compare", (1560, 0, 1440, 1300), PURPLE)


def with_and_without_l_reg(flow: Flow) -> None:
    first, second = (NEW_CONCEPTS[name] for name in HELD)
    flow.note((340, 380))
    loaded, general = flow.demo_model_and_general(440, TOUR_CALIBRATION)
    settings = {**DEMO_TRAINING, "preview_every": 0}
    earlier, later = (flow.demo_material((420, ROW * row + 60), HELD[row], f"<new{row + 1}>") for row in (0, 1))
    described, chosen = flow.chosen_in_one((760, 60), loaded, general, earlier)
    taught_first = flow.train((1140, 60), loaded, described, chosen, earlier, **settings)()
    flow.group(f"2  Teach <new1> ({first.name})", (400, 0, 1120, ROW_HEIGHT), GREEN)
    described, chosen = flow.chosen_in_one((760, ROW + 60), loaded, general, later, taught_first)
    flow.group(f"3  Choose neurons of <new2> ({second.name})", (400, ROW, 720, ROW_HEIGHT), GREEN)
    free = {"preset": "custom", "keep_tolerance": 0.0}
    prompts = [
        f"{with_article(f'<new{number}> {concept.noun}')} on a beach" for number, concept in enumerate((first, second), start=1)
    ]
    for row, (title, held) in enumerate(
        {"nothing held": free, "L_reg": {"preset": "paper"}, "keep": {"preset": "keep"}}.items()
    ):
        x, y = 1600, ROW * row
        state = flow.train((x, y + 60), loaded, described, chosen, later, taught_first, **{**settings, **held})()
        with flow.subgraph("Draw both", (x + 400, y + 60), (320, 0)) as box:
            taught = flow.applied((-380, 0), loaded, state)
            pictures = [flow.sampled((0, 700 * number), taught, text, 6, 1, DEMO) for number, text in enumerate(prompts)]
            both = flow.add("ImageBatch", (760, 400), size=(200, 0), image1=pictures[0], image2=pictures[1])()
            flow.show(box, CLIPTextEncode="text", KSampler="seed")
        shown = {"images": both, "filename_prefix": f"cns/held_{row + 1}"}
        flow.add("SaveImage", (x + 760, y + 60), f"<new1> and <new2>, {title}", (640, 640), **shown)
        flow.group(f"{row + 4}  Teach <new2>: {title}", (x - 20, y, 1440, ROW_HEIGHT), PURPLE)
