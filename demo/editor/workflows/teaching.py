"""Workflows that teach a checkpoint."""

from __future__ import annotations

from demo.editor.canvas.parts import ROW, ROW_HEIGHT, SD15, Flow, Material
from demo.editor.graph import CHECKPOINT, GREEN, PURPLE

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


def captions_of(noun: str) -> str:
    return "\n".join(_CAPTIONS[noun])


def first_steps(flow: Flow) -> None:
    flow.scale = 1.0
    flow.note((300, 560), (0, 190))
    loader = flow.add("CheckpointLoaderSimple", (0, 0), size=(300, 0), ckpt_name=CHECKPOINT)
    wired = {"model": loader("MODEL"), "clip": loader("CLIP"), "vae": loader("VAE")}
    taught = flow.add("CNS_TeachFolder", (340, 0), size=(360, 0), folder="my_things", **wired)
    text = "photo of a <new1> dog on a beach"
    positive = flow.add("CLIPTextEncode", (740, 40), "Prompt", (280, 110), clip=taught("clip"), text=text)
    negative = flow.add("CLIPTextEncode", (740, 240), "What it leaves out", (280, 110), clip=taught("clip"), text=SD15.negative)
    size = {"width": SD15.pixels, "height": SD15.pixels}
    empty = flow.add("EmptyLatentImage", (740, 390), size=(280, 0), batch_size=1, **size)
    wired = {"model": taught("model"), "positive": positive(), "negative": negative(), "latent_image": empty()}
    latents = flow.add("KSampler", (1060, 0), size=(260, 0), seed=1, **wired, **SD15.of_sampler)
    decoded = flow.add("VAEDecode", (1350, 620), size=(150, 0), samples=latents(), vae=loader("VAE"))
    shown = flow.add("SaveImage", (1530, 200), "The picture", (290, 380), images=decoded(), filename_prefix="cns/first_steps")
    flow.app = [(loader, "ckpt_name"), (taught, "folder"), (taught, "steps"), (positive, "text"), (latents, "seed")], [shown]


def continual_training(flow: Flow) -> None:
    flow.note((340, 330))
    loaded, general = flow.checkpoint_and_general(390)
    state, summary, concepts = None, None, [("<new1>", "dog"), ("<new2>", "hat")]
    for row, (token, noun) in enumerate(concepts):
        y = row * ROW
        photographs = flow.folder((420, y + 60), f"my_{noun}")
        prior = flow.priors((420, y + 340), loaded, noun)
        material = Material(token, noun, photographs("images"), captions_of(noun), prior)
        described, chosen = flow.choose((760, y + 60), loaded, general, material, state)
        trained = flow.train((1140, y + 60), loaded, described, chosen, material, state, seed=row)
        flow.group(f"{2 + row}  Teach {token} {noun}", (400, y, 1120, ROW_HEIGHT), GREEN)
        state, summary = trained(), trained("summary")
    flow.add("PreviewAny", (1580, 60), "What it did", (360, 460), source=summary)
    saved = flow.add("CNS_SaveState", (1580, 580), size=(360, 200), state=state, filename_prefix="cns/concepts")
    taught = flow.applied((1580, 840), loaded, saved(), 360)
    image = flow.drawn((1580, 1080), taught, "photo of a <new1> dog wearing a <new2> hat", 2, 7)
    flow.add("SaveImage", (1980, 60), "Both", (420, 480), images=image, filename_prefix="cns/both")
    flow.group("4  Save and use", (1560, 0, 860, 1640), PURPLE)


def add_a_third_concept(flow: Flow) -> None:
    flow.note((340, 330))
    loaded = flow.loaders((0, 390))
    general = flow.general_neurons(550, loaded)
    stored = flow.add("CNS_LoadState", (0, 920), size=(340, 200), state_name="concepts_00001_.safetensors")
    flow.group("1  Checkpoint and saved state", (-20, 340, 380, ROW_HEIGHT - 340))
    photographs = flow.folder((420, 60), "my_backpack")
    prior = flow.priors((420, 340), loaded, "backpack")
    material = Material("<new3>", "backpack", photographs("images"), captions_of("backpack"), prior)
    described, chosen = flow.choose((760, 60), loaded, general, material, stored())
    state = flow.train((1140, 60), loaded, described, chosen, material, stored(), seed=2)()
    flow.group("2  Teach <new3> backpack", (400, 0, 1120, ROW_HEIGHT), GREEN)
    saved = flow.add("CNS_SaveState", (1560, 60), size=(320, 200), state=state, filename_prefix="cns/three_concepts")
    taught = flow.applied((1560, 320), loaded, saved(), 320)
    text = "photo of a <new1> dog wearing a <new2> hat next to a <new3> backpack"
    image = flow.sampled((1560, 560), taught, text, 2, 7)
    flow.add("SaveImage", (1960, 60), "All three", (420, 440), images=image, filename_prefix="cns/three_concepts")
    flow.group("3  Save and use", (1540, 0, 900, ROW_HEIGHT), PURPLE)


def style_and_object(flow: Flow) -> None:
    flow.note((340, 330))
    loaded, general = flow.checkpoint_and_general(390)
    state = None
    lessons = (("<new1>", "dog", "my_dog", "photo of a {concept}"), ("<new2>", "painting", "my_style", "a {concept}"))
    for row, (token, noun, name, template) in enumerate(lessons):
        y = ROW * row
        pictures = flow.folder((420, y + 60), name)
        prompts = {"prompts": "a {noun} of a street\na {noun} of a tree\na {noun} of a man\na {noun} of a ship"}
        prior = flow.priors((420, y + 340), loaded, noun, **(prompts if row else {}))
        material = Material(token, noun, pictures("images"), captions_of(noun), prior)
        described, chosen = flow.chosen_in_one((760, y + 60), loaded, general, material, state)
        state = flow.train((1140, y + 60), loaded, described, chosen, material, state, seed=row, template=template)()
        flow.group(f"{row + 2}  Teach {token} {noun}", (400, y, 1120, ROW_HEIGHT), GREEN)
    saved = flow.add("CNS_SaveState", (1580, 60), size=(360, 200), state=state, filename_prefix="cns/style")
    taught = flow.applied((1580, 320), loaded, saved(), 320)
    prompts = {"The thing": "photo of a <new1> dog", "Both": "a <new2> painting of a <new1> dog"}
    for row, (title, text) in enumerate(prompts.items()):
        y = 560 + 560 * row
        image = flow.drawn((1580, y), taught, text, 2, 7)
        flow.add("SaveImage", (1960, y), title, (420, 480), images=image, filename_prefix="cns/style")
    flow.group("4  Save and use", (1560, 0, 840, 1640), PURPLE)


def captions_from_files(flow: Flow) -> None:
    flow.note((340, 330))
    loaded, general = flow.checkpoint_and_general(390)
    pictures = flow.folder((420, 60), "my_dog")
    flow.add("PreviewImage", (420, 300), "Training pictures", (300, 320), images=pictures("images"))
    prior = flow.priors((420, 690), loaded, "dog")
    material = Material("<new1>", "dog", pictures("images"), pictures("captions"), prior, masks=pictures("masks"))
    described, chosen = flow.choose((780, 60), loaded, general, material)
    state = flow.train((1160, 60), loaded, described, chosen, material)()
    flow.group("2  Teach <new1> dog", (400, 0, 1140, ROW_HEIGHT), GREEN)
    saved = flow.add("CNS_SaveState", (1580, 60), size=(320, 200), state=state, filename_prefix="cns/my_dog")
    taught = flow.applied((1580, 320), loaded, saved(), 320)
    image = flow.sampled((1580, 560), taught, "photo of a <new1> dog on a beach", 1, 1)
    flow.add("SaveImage", (1940, 60), "The picture", (420, 440), images=image, filename_prefix="cns/my_dog")
    flow.group("3  Save and use", (1560, 0, 820, ROW_HEIGHT), PURPLE)
