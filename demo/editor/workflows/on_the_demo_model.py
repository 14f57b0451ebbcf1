"""Workflows on the demo model: they run anywhere."""

from __future__ import annotations

import random

from demo.editor.canvas.parts import (
    DEMO,
    DEMO_STRATEGY,
    DEMO_TRAINING,
    ROW,
    ROW_HEIGHT,
    Material,
    applied,
    choose,
    demo_model_and_general,
    sampled,
    teach,
    train,
)
from demo.editor.graph import Graph
from demo.world.new_concepts import NEW_CONCEPTS
from demo.world.new_surroundings import NEW_PLACES
from demo.world.scene import prompt, random_scene, with_article

TOUR_CALIBRATION = [prompt(random_scene(random.Random(number))) for number in range(20)]
CONCEPTS = ("fox", "candyland")  # of the tour: a thing, then a place
HELD = ("fox", "turtle")  # of with_and_without_l_reg


def no_gpu_tour(flow: Graph) -> None:
    thing, place = (NEW_CONCEPTS[name] for name in CONCEPTS)
    flow.note(
        (0, 0),
        (340, 420),
        f"## A tour that needs no GPU and no downloads\nA small model that comes with the pack learns a **{thing.name}** and "
        f"then a **{place.name}**, each from five pictures of something it has never seen. On a laptop this takes a few "
        "minutes.\n\nCompare the pictures on the right: `<new1>` alone, the same after `<new2>` was taught, `<new2>` alone, "
        "and both together.\n\nThe model is so small that the tour trains all its K/V weights (strategy *all K/V*); on SD 1.5 "
        "leave it at *concept*.\n\nThen choose other concepts in the two **Demo Concept Images**. Their class nouns (an *owl* "
        "is a *bird*; **Train CNS Step** names them) belong in the prompts on the right, in the prior prompt, and in "
        "`prior_prompts`.",
    )
    loaded, general = demo_model_and_general(flow, 480, TOUR_CALIBRATION)
    named = with_article(f"<new1> {thing.noun}")
    alone = (f"{named} in a forest", f"a blue house {place.words('<new2>')}")
    state, states = None, []
    for row, (name, token) in enumerate(zip(CONCEPTS, ("<new1>", "<new2>"), strict=True)):
        y, concept = row * ROW, NEW_CONCEPTS[name]
        pictures = flow.add("CNS_DemoConcept", (420, y + 60), size=(300, 0), concept=name)
        flow.add("PreviewImage", (420, y + 290), f"{token}: what it is shown", (300, 320), images=pictures("images"))
        ordinary = f"a red star {concept.words()}" if name in NEW_PLACES else f"{with_article(concept.noun)} on a beach"
        prior = sampled(flow, 760, y + 60, loaded, ordinary, 12, row + 1, DEMO)
        material = Material(token, pictures("noun"), pictures("images"), pictures("captions"), prior, ordinary, DEMO_STRATEGY)
        training = {**DEMO_TRAINING, "preview_prompt": alone[row]}
        state = teach(flow, 1480, y + 60, loaded, general, material, state, **training)
        states.append(state)
        flow.group(f"{row + 2}  Teach {token} ({name})", (400, y, 2300, ROW_HEIGHT), "#3f8e5a")
    flow.add("CNS_SaveState", (2260, ROW + 950), size=(420, 200), state=state, filename_prefix="cns/tour")
    shown = {
        "<new1> after the first step": alone[0],
        "<new1> after the second": alone[0],
        "<new2>": alone[1],
        "<new1> and <new2>": f"{named} {place.words('<new2>')}",
    }
    for column, (title, text) in enumerate(shown.items()):
        x = 2760 + 720 * (column % 2)
        y = ROW * (column // 2)
        taught = applied(flow, (x, y + 60), loaded, states[min(column, 1)])
        image = sampled(flow, x, y + 250, taught, text, 6, 1, DEMO)
        flow.add("SaveImage", (x + 350, y + 740), title, (330, 200), images=image, filename_prefix=f"cns/tour_{column + 1}")
    flow.group("4  Compare", (2740, 0, 1440, ROW + ROW_HEIGHT), "#8a5a9e")


def with_and_without_l_reg(flow: Graph) -> None:
    first, second = (NEW_CONCEPTS[name] for name in HELD)
    flow.note(
        (0, 0),
        (340, 380),
        f"## What holds the first concept?\nA **{first.name}** is taught, then a **{second.name}**, three times from the same "
        f"start: with nothing that holds the {first.name}, with the paper's L_reg (preset *paper*), and with K and V of the "
        f"{first.name}'s prompts held (preset *keep*).\n\nEach time the same prompts are drawn from the same noise. Look at "
        f"how the {first.name} changes. One more concept does little harm; the differences add up over many.",
    )
    loaded, general = demo_model_and_general(flow, 440, TOUR_CALIBRATION)
    settings = {**DEMO_TRAINING, "preview_every": 0}
    earlier, later = (_demo_material(flow, 420, ROW * row + 60, row) for row in (0, 1))
    described, chosen = choose(flow, 760, 60, loaded, general, earlier)
    taught_first = train(flow, 1140, 60, loaded, described, chosen, earlier, **settings)()
    flow.group(f"2  Teach <new1> ({first.name})", (400, 0, 1120, ROW_HEIGHT), "#3f8e5a")
    described, chosen = choose(flow, 760, ROW + 60, loaded, general, later, taught_first)
    flow.group(f"3  Choose neurons of <new2> ({second.name})", (400, ROW, 720, ROW_HEIGHT), "#3f8e5a")
    free = {"preset": "custom", "keep_tolerance": 0.0}
    for row, (title, held) in enumerate(
        {"nothing held": free, "L_reg": {"preset": "paper"}, "keep": {"preset": "keep"}}.items()
    ):
        x, y = 1600, ROW * row
        state = train(flow, x, y + 60, loaded, described, chosen, later, taught_first, **{**settings, **held})()
        taught = applied(flow, (x + 400, y + 60), loaded, state)
        for column, concept in enumerate((first, second)):
            left, token = x + 400 + 720 * column, f"<new{column + 1}>"
            text = f"{with_article(f'{token} {concept.noun}')} on a beach"
            image = sampled(flow, left, y + 330, taught, text, 6, 1, DEMO)
            shown = {"images": image, "filename_prefix": f"cns/held_{row + 1}_{column + 1}"}
            flow.add("SaveImage", (left, y + 960), f"{token}, {title}", (640, 240), **shown)
        flow.group(f"{row + 4}  Teach <new2>: {title}", (x - 20, y, 1880, ROW_HEIGHT), "#8a5a9e")


def _demo_material(flow: Graph, x: int, y: int, number: int) -> Material:
    token = f"<new{number + 1}>"
    pictures = flow.add("CNS_DemoConcept", (x, y), size=(300, 0), concept=HELD[number])
    flow.add("PreviewImage", (x, y + 230), f"{token}: what it is shown", (300, 320), images=pictures("images"))
    return Material(token, pictures("noun"), pictures("images"), pictures("captions"), strategy=DEMO_STRATEGY)
