"""Workflows that teach a checkpoint."""

from __future__ import annotations

from demo.editor.canvas.parts import (
    ROW,
    ROW_HEIGHT,
    Material,
    applied,
    checkpoint_and_general,
    general_neurons,
    loaders,
    photographs,
    sampled,
    teach,
)
from demo.editor.graph import Graph


def first_steps(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 260),
        "## Teach one concept\n1. Choose an **SD 1.5** checkpoint.\n2. Load three pictures of one thing (three to six are "
        "best, one works).\n3. Name it: a token like `<new1>` and an ordinary word like *dog*.\n4. Write a caption for each "
        "picture, one per line.\n"
        "5. Press **Run**. When it is done, use `<new1> dog` in the prompt on the right. The concept is saved in `output/cns`: "
        "load it tomorrow with *multi_concept_generation*.\n\nMore pictures? Another **Load Image** into **Batch Images**, and "
        "another caption. Needs a GPU; without one open *no_gpu_tour*.",
    )
    loaded, general = checkpoint_and_general(flow, 320)
    captions = "a dog on grass\na dog on a sofa\na dog on grass, seen from the side"
    material = Material("<new1>", "dog", photographs(flow, 420, 60, 3), captions)
    state = teach(flow, 960, 60, loaded, general, material)
    flow.group("2  Teach <new1> dog", (400, 0, 1780, ROW_HEIGHT), "#3f8e5a")
    saved = flow.add("CNS_SaveState", (2240, 60), size=(320, 200), state=state, filename_prefix="cns/first_steps")
    taught = applied(flow, (2240, 320), loaded, saved(), 320)
    image = sampled(flow, 2240, 560, taught, "photo of a <new1> dog on a beach", 1, 1)
    flow.add("SaveImage", (2930, 60), "The picture", (420, 480), images=image, filename_prefix="cns/first_steps")
    flow.group("3  Save and use", (2220, 0, 1150, ROW_HEIGHT), "#8a5a9e")


def continual_training(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## Teach two concepts, one after the other\nEach row teaches one concept: photographs, token, noun, captions. The "
        "second **Train CNS Step** gets the first one's state and leaves what it learned in place. Add a row for a third.\n\n"
        "The prior images on the left are made by the checkpoint itself: they keep an ordinary *dog* ordinary. Four show how; "
        "twenty or more are better: raise `batch_size` of **Empty Latent Image** as far as your card goes.\n\n"
        "Not a dog? Change the word in its row: `noun`, the captions, the prompt on the left.\n\n"
        "A whole folder at once: **Load Concept Images**.",
    )
    loaded, general = checkpoint_and_general(flow, 390)
    state, concepts = None, [("<new1>", "dog"), ("<new2>", "hat")]
    for row, (token, noun) in enumerate(concepts):
        y = row * ROW
        prior = sampled(flow, 420, y + 60, loaded, f"photo of a {noun}", 4, row + 1)
        flow.group(f"{2 + 2 * row}  What an ordinary {noun} looks like", (400, y, 700, ROW_HEIGHT))
        captions = "\n".join([f"a {noun} on a table", f"a {noun} in a garden", f"a {noun}, close-up"])
        material = Material(token, noun, photographs(flow, 1160, y + 60, 3), captions, prior)
        state = teach(flow, 1700, y + 60, loaded, general, material, state)
        flow.group(f"{3 + 2 * row}  Teach {token} {noun}", (1140, y, 1780, ROW_HEIGHT), "#3f8e5a")
        name = "cns/concepts" if row else "cns/first_of_two"  # to go back to where the second one does not turn out well
        flow.add("CNS_SaveState", (2960, y + 60), size=(360, 200), state=state, filename_prefix=name)
        flow.group("Save both" if row else "Save the first alone", (2940, y, 400, 290), "#8a5a9e")


def add_a_third_concept(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## Go on another day\n**Load CNS State** brings back what *continual_training* saved; or choose another state. Teach "
        "a third concept on top of it: the first two stay, their tokens still work.\n\nEach concept has its own token: "
        "`<new3>`. The result is saved as a new file, the old one is not touched.\n\nNot a backpack? Change the word in "
        "`noun`, the captions and the prompts on the left and on the right.",
    )
    loaded = loaders(flow, 0, 390)
    general = general_neurons(flow, 550, loaded)
    stored = flow.add("CNS_LoadState", (0, 920), size=(340, 200), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and saved state", (-20, 340, 380, ROW_HEIGHT - 340))
    prior = sampled(flow, 420, 60, loaded, "photo of a backpack", 4, 3)
    flow.group("2  What an ordinary backpack looks like", (400, 0, 700, ROW_HEIGHT))
    captions = "\n".join(["a backpack on a chair", "a backpack on grass", "a backpack in front of a wall"])
    material = Material("<new3>", "backpack", photographs(flow, 1160, 60, 3), captions, prior)
    state = teach(flow, 1700, 60, loaded, general, material, stored())
    flow.group("3  Teach <new3> backpack", (1140, 0, 1780, ROW_HEIGHT), "#3f8e5a")
    saved = flow.add("CNS_SaveState", (2960, 60), size=(360, 200), state=state, filename_prefix="cns/three_concepts")
    taught = applied(flow, (2960, 320), loaded, saved(), 320)
    text = "photo of a <new1> dog wearing a <new2> hat next to a <new3> backpack"
    image = sampled(flow, 2960, 560, taught, text, 2, 7)
    flow.add("SaveImage", (3360, 60), "All three", (420, 440), images=image, filename_prefix="cns/three_concepts")
    flow.group("4  Save and use", (2940, 0, 900, ROW_HEIGHT), "#8a5a9e")


def style_and_object(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## A thing, then a style\nA style is taught like a thing: its noun is *painting*, *drawing* or *photo*, and each "
        "caption says what the picture shows: *a painting of a harbour*.\n\nUse different subjects for the style, so that it "
        "does not learn one of them. Then: `a <new2> painting of a <new1> dog`.",
    )
    loaded, general = checkpoint_and_general(flow, 390)
    thing = ["a dog on grass", "a dog on a sofa", "a dog, close-up"]
    style = ["a painting of a harbour", "a painting of a house", "a painting of a woman"]
    state = None
    lessons = (("<new1>", "dog", thing, "photo of a {concept}"), ("<new2>", "painting", style, "a {concept}"))
    for row, (token, noun, captions, template) in enumerate(lessons):
        y = ROW * row
        material = Material(token, noun, photographs(flow, 420, y + 60, 3), "\n".join(captions))
        state = teach(flow, 960, y + 60, loaded, general, material, state, template=template)
        flow.group(f"{row + 2}  Teach {token} {noun}", (400, y, 1780, ROW_HEIGHT), "#3f8e5a")
    saved = flow.add("CNS_SaveState", (2240, 60), size=(360, 200), state=state, filename_prefix="cns/style")
    taught = applied(flow, (2240, 320), loaded, saved(), 320)
    prompts = {"The thing": "photo of a <new1> dog", "Both": "a <new2> painting of a <new1> dog"}
    for row, (title, text) in enumerate(prompts.items()):
        image = sampled(flow, 2240, 560 + 680 * row, taught, text, 2, 7)
        flow.add("SaveImage", (2960, 560 + 680 * row), title, (420, 480), images=image, filename_prefix="cns/style")
    flow.group("4  Save and use", (2220, 0, 1180, 1900), "#8a5a9e")


def captions_from_files(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## A folder of pictures with captions\nMake a folder inside ComfyUI's `input`: `input/my_dog/01.jpg`, and `01.txt` "
        "beside it with its caption, as trainers and taggers write them. Press **R** and choose the folder.\n\nThe token is "
        "put before the noun in each caption. Pictures without a text file are described by the "
        "captioner: turn on `download_captioner` in **Caption Concept Images** (1.9 GB, once).",
    )
    loaded, general = checkpoint_and_general(flow, 390)
    folder = flow.add("CNS_LoadConceptImages", (420, 60), size=(300, 0), folder="my_dog")
    flow.add("PreviewImage", (420, 240), "Training pictures", (300, 320), images=folder("images"))
    material = Material("<new1>", "dog", folder("images"), folder("captions"))
    state = teach(flow, 780, 60, loaded, general, material)
    flow.group("2  Teach <new1> dog", (400, 0, 1600, ROW_HEIGHT), "#3f8e5a")
    saved = flow.add("CNS_SaveState", (2060, 60), size=(320, 200), state=state, filename_prefix="cns/my_dog")
    taught = applied(flow, (2060, 320), loaded, saved(), 320)
    image = sampled(flow, 2420, 60, taught, "photo of a <new1> dog on a beach", 1, 1)
    flow.add("SaveImage", (3110, 60), "The picture", (420, 480), images=image, filename_prefix="cns/my_dog")
    flow.group("3  Save and use", (2040, 0, 1510, ROW_HEIGHT), "#8a5a9e")
