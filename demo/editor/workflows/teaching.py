"""Workflows that teach a checkpoint."""

from __future__ import annotations

from demo.editor.canvas.parts import (
    ROW,
    ROW_HEIGHT,
    SD15,
    Material,
    applied,
    checkpoint_and_general,
    choose,
    chosen_in_one,
    drawn,
    folder,
    general_neurons,
    loaders,
    priors,
    sampled,
    train,
)
from demo.editor.graph import CHECKPOINT, GREEN, PURPLE, Graph

_CAPTIONS = {
    "dog": (
        "a dog lies on short grass in front of a wooden fence, evening sun from the left, a yellow ball between its paws",
        "a dog sits on a grey sofa beside two cushions, looking at the camera, soft light from a window on the right",
        "close-up of a dog seen from the side on a gravel path, green bushes out of focus behind it, overcast sky",
    ),
    "hat": (
        "a hat lies on a round wooden table beside an empty glass and a folded newspaper, warm light from a lamp above",
        "a hat hangs on a brass hook on a white wall next to a blue coat, seen from the front in daylight",
        "a woman with sunglasses wears a hat on a pebble beach, calm sea behind her, bright sun and short shadows",
    ),
    "backpack": (
        "a backpack stands on a wooden chair in front of a bookshelf, books in many colours, soft light from the right",
        "a backpack lies on wet grass under a tree, fallen yellow leaves around it, an empty bench in the background",
        "a backpack in front of a grey concrete wall, seen from the front, hard sunlight and a long shadow to the left",
    ),
    "painting": (
        "a painting of a harbour with three fishing boats at the quay, small houses behind them, evening light on the water",
        "a painting of a house with a red roof among tall trees, a narrow path that leads to its open door",
        "a painting of a woman in a green dress who reads a letter at a window, a vase of flowers on the table",
    ),
}
_IN_A_FOLDER = (
    "put at least three photographs (three captions are written here, one line for each) into a folder inside ComfyUI's "
    "`input`, press **R** and choose it in **Load Concept Images**"
)


def captions_of(noun: str) -> str:
    return "\n".join(_CAPTIONS[noun])


def first_steps(flow: Graph) -> None:
    flow.scale = 1.0
    flow.note(
        (0, 190),
        (300, 560),
        "## Teach your things\n1. In ComfyUI's `input` make a folder `my_things`, and in it a folder for each thing, named "
        "after an ordinary word: `dog`, `hat`. Two of a kind: `dog - Rex`, `dog - Luna`. Put about four photographs of it into "
        "each.\n2. Press **R**, choose an **SD 1.5** checkpoint and your folder.\n3. Press **Run**. The things become "
        "`<new1> dog`, `<new2> hat` and so on, in the order of their names. Write them into the prompt.\n4. Another thing? "
        "Add its folder and press **Run** again: only that one is taught.\n\nThe result is saved in `output/cns`; "
        "*multi_concept_generation* loads it. Needs a GPU; without one open *no_gpu_tour*.",
    )
    loader = flow.add("CheckpointLoaderSimple", (0, 0), size=(300, 0), ckpt_name=CHECKPOINT)
    wired = {"model": loader("MODEL"), "clip": loader("CLIP"), "vae": loader("VAE")}
    taught = flow.add("CNS_TeachFolder", (340, 0), size=(360, 0), folder="my_things", **wired)
    text = "photo of a <new1> dog on a beach"
    positive = flow.add("CLIPTextEncode", (740, 40), "Prompt", (280, 110), clip=taught("clip"), text=text)
    negative = flow.add("CLIPTextEncode", (740, 240), "What it leaves out", (280, 110), clip=taught("clip"), text=SD15.negative)
    size = {"width": SD15.pixels, "height": SD15.pixels}
    empty = flow.add("EmptyLatentImage", (740, 390), size=(280, 0), batch_size=1, **size)
    latents = flow.add(
        "KSampler",
        (1060, 0),
        size=(260, 0),
        model=taught("model"),
        positive=positive(),
        negative=negative(),
        latent_image=empty(),
        seed=1,
        steps=SD15.steps,
        cfg=SD15.cfg,
        sampler_name="dpmpp_2m",
        scheduler="karras",
    )
    decoded = flow.add("VAEDecode", (1350, 620), size=(150, 0), samples=latents(), vae=loader("VAE"))
    shown = flow.add("SaveImage", (1530, 200), "The picture", (290, 380), images=decoded(), filename_prefix="cns/first_steps")
    flow.app = [(loader, "ckpt_name"), (taught, "folder"), (taught, "steps"), (positive, "text"), (latents, "seed")], [shown]


def continual_training(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## Teach two concepts, step by step\nEach row teaches one concept: photographs, token, noun, captions. The "
        "second **Train CNS Step** gets the first one's state and leaves what it learned in place. Add a row for a third.\n\n"
        f"For each concept {_IN_A_FOLDER}. **Make Prior Images** draws ordinary ones, so that an ordinary *dog* stays "
        "one; they are kept on disk.\n\nNot a dog? Change the word in its row: both `noun` and the captions.",
    )
    loaded, general = checkpoint_and_general(flow, 390)
    state, summary, concepts = None, None, [("<new1>", "dog"), ("<new2>", "hat")]
    for row, (token, noun) in enumerate(concepts):
        y = row * ROW
        photographs = folder(flow, (420, y + 60), f"my_{noun}")
        prior = priors(flow, (420, y + 340), loaded, noun)
        material = Material(token, noun, photographs("images"), captions_of(noun), prior)
        described, chosen = choose(flow, (760, y + 60), loaded, general, material, state)
        trained = train(flow, (1140, y + 60), loaded, described, chosen, material, state, seed=row)
        flow.group(f"{2 + row}  Teach {token} {noun}", (400, y, 1120, ROW_HEIGHT), GREEN)
        state, summary = trained(), trained("summary")
    flow.add("PreviewAny", (1580, 60), "What it did", (360, 460), source=summary)
    saved = flow.add("CNS_SaveState", (1580, 580), size=(360, 200), state=state, filename_prefix="cns/concepts")
    taught = applied(flow, (1580, 840), loaded, saved(), 360)
    image = drawn(flow, (1580, 1080), taught, "photo of a <new1> dog wearing a <new2> hat", 2, 7)
    flow.add("SaveImage", (1980, 60), "Both", (420, 480), images=image, filename_prefix="cns/both")
    flow.group("4  Save and use", (1560, 0, 860, 1640), PURPLE)


def add_a_third_concept(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## Go on another day\n**Load CNS State** brings back what *continual_training* saved; or choose another state. Teach "
        f"a third concept on top of it: the first two stay, their tokens still work.\n\nFor it {_IN_A_FOLDER}. Each concept "
        "has its own token: `<new3>`. The result is saved as a new file, the old one is not touched.\n\nNot a backpack? "
        "Change the word in both `noun`, the captions and the prompt on the right.",
    )
    loaded = loaders(flow, (0, 390))
    general = general_neurons(flow, 550, loaded)
    stored = flow.add("CNS_LoadState", (0, 920), size=(340, 200), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and saved state", (-20, 340, 380, ROW_HEIGHT - 340))
    photographs = folder(flow, (420, 60), "my_backpack")
    prior = priors(flow, (420, 340), loaded, "backpack")
    material = Material("<new3>", "backpack", photographs("images"), captions_of("backpack"), prior)
    described, chosen = choose(flow, (760, 60), loaded, general, material, stored())
    state = train(flow, (1140, 60), loaded, described, chosen, material, stored(), seed=2)()
    flow.group("2  Teach <new3> backpack", (400, 0, 1120, ROW_HEIGHT), GREEN)
    saved = flow.add("CNS_SaveState", (1560, 60), size=(320, 200), state=state, filename_prefix="cns/three_concepts")
    taught = applied(flow, (1560, 320), loaded, saved(), 320)
    text = "photo of a <new1> dog wearing a <new2> hat next to a <new3> backpack"
    image = sampled(flow, (1560, 560), taught, text, 2, 7)
    flow.add("SaveImage", (1960, 60), "All three", (420, 440), images=image, filename_prefix="cns/three_concepts")
    flow.group("3  Save and use", (1540, 0, 900, ROW_HEIGHT), PURPLE)


def style_and_object(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## A thing, then a style\nA style is taught like a thing: its noun is *painting*, *drawing* or *photo*, and each "
        "caption says what the picture shows: *a painting of a harbour with three fishing boats, …*.\n\nUse different subjects "
        f"for the style, so that it does not learn one of them. For each {_IN_A_FOLDER}. Then: `a <new2> painting of a "
        "<new1> dog`.",
    )
    loaded, general = checkpoint_and_general(flow, 390)
    state = None
    lessons = (("<new1>", "dog", "my_dog", "photo of a {concept}"), ("<new2>", "painting", "my_style", "a {concept}"))
    for row, (token, noun, name, template) in enumerate(lessons):
        y = ROW * row
        pictures = folder(flow, (420, y + 60), name)
        prompts = {"prompts": "a {noun} of a street\na {noun} of a tree\na {noun} of a man\na {noun} of a ship"}
        prior = priors(flow, (420, y + 340), loaded, noun, **(prompts if row else {}))
        material = Material(token, noun, pictures("images"), captions_of(noun), prior)
        described, chosen = chosen_in_one(flow, (760, y + 60), loaded, general, material, state)
        state = train(flow, (1140, y + 60), loaded, described, chosen, material, state, seed=row, template=template)()
        flow.group(f"{row + 2}  Teach {token} {noun}", (400, y, 1120, ROW_HEIGHT), GREEN)
    saved = flow.add("CNS_SaveState", (1580, 60), size=(360, 200), state=state, filename_prefix="cns/style")
    taught = applied(flow, (1580, 320), loaded, saved(), 320)
    prompts = {"The thing": "photo of a <new1> dog", "Both": "a <new2> painting of a <new1> dog"}
    for row, (title, text) in enumerate(prompts.items()):
        y = 560 + 560 * row
        image = drawn(flow, (1580, y), taught, text, 2, 7)
        flow.add("SaveImage", (1960, y), title, (420, 480), images=image, filename_prefix="cns/style")
    flow.group("4  Save and use", (1560, 0, 840, 1640), PURPLE)


def captions_from_files(flow: Graph) -> None:
    flow.note(
        (0, 0),
        (340, 330),
        "## A folder of pictures with captions\nMake a folder inside ComfyUI's `input`: `input/my_dog/01.jpg`, and `01.txt` "
        "beside it with its caption, as trainers and taggers write them. Press **R** and choose the folder.\n\nThe token is "
        "put before the noun in each caption. Pictures without a text file are described by the "
        "captioner: turn on `download_captioner` in **Caption Concept Images** (1.9 GB, once). A mask `01-masklabel.png` "
        "says where in `01.jpg` the dog is.",
    )
    loaded, general = checkpoint_and_general(flow, 390)
    pictures = folder(flow, (420, 60), "my_dog")
    flow.add("PreviewImage", (420, 300), "Training pictures", (300, 320), images=pictures("images"))
    prior = priors(flow, (420, 690), loaded, "dog")
    material = Material("<new1>", "dog", pictures("images"), pictures("captions"), prior, masks=pictures("masks"))
    described, chosen = choose(flow, (780, 60), loaded, general, material)
    state = train(flow, (1160, 60), loaded, described, chosen, material)()
    flow.group("2  Teach <new1> dog", (400, 0, 1140, ROW_HEIGHT), GREEN)
    saved = flow.add("CNS_SaveState", (1580, 60), size=(320, 200), state=state, filename_prefix="cns/my_dog")
    taught = applied(flow, (1580, 320), loaded, saved(), 320)
    image = sampled(flow, (1580, 560), taught, "photo of a <new1> dog on a beach", 1, 1)
    flow.add("SaveImage", (1940, 60), "The picture", (420, 440), images=image, filename_prefix="cns/my_dog")
    flow.group("3  Save and use", (1560, 0, 820, ROW_HEIGHT), PURPLE)
