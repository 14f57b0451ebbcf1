"""Each user mistake ends in one readable sentence in the editor."""

from __future__ import annotations

import shutil

import pytest

from demo.editor.comfy_server import PromptRefused
from tests.support.graphs import CAPTIONS, Graph


def message_of(server, graph: Graph) -> str:
    result = server.run(graph.prompt)
    assert result.error is not None, "no error was reported"
    assert result.error["exception_type"].endswith("CNSError"), result.error
    message = result.error["exception_message"].strip()
    assert "\n" not in message
    assert message.endswith((".", "!"))
    return message


def caption(server, pictures, images=None, **changes) -> str:
    graph = Graph(server)
    names = pictures["dog"] if images is None else images
    concept = graph.concept(graph.images(names), **{"captions": CAPTIONS["dog"], **changes})
    graph.text([concept[0], 1])
    return message_of(server, graph)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"token": "dog"}, "The token 'dog' must be one name in angle brackets, like <new1>"),
        ({"token": "<my dog>"}, "The token '<my dog>' must be one name"),
        ({"noun": "  "}, "The class noun is empty"),
        ({"captions": "a dog\n\na dog"}, "The caption of image 2 is empty"),
        ({"captions": "a dog\nanother dog"}, "2 captions were given for 3 images"),
        ({"captions": "", "captioner": "blip-image-captioning-large"}, "Salesforce/blip-image-captioning-large is not in"),
    ],
)
def test_concept(server, pictures, changes, expected):
    assert expected in caption(server, pictures, **changes)


def test_inputs_of_other_names(server):
    """ComfyUI hands on every link of a prompt by API, and refuses what lacks an input itself."""
    graph = Graph(server)
    drawn = graph.add("CNS_DemoConcept", concept="robot")
    second = graph.add("CNS_DemoConcept", concept="robot")
    graph.prompt[second]["inputs"]["number"] = drawn(1)
    graph.show(second())
    assert message_of(server, graph) == "Demo Concept Images has no input 'number': it takes concept, count, seed."
    graph = Graph(server)
    first, second = (graph.add("CNS_LoadDemoModel") for _ in range(2))
    graph.prompt[second]["inputs"]["model"] = first()
    graph.text(second())
    assert message_of(server, graph) == "Load CNS Demo Model has no input 'model': it takes none."
    graph = Graph(server)
    drawn = graph.add("CNS_DemoConcept", concept="robot")
    inputs = graph.prompt[drawn]["inputs"]
    inputs["number"] = inputs.pop("count")
    graph.show(drawn())
    with pytest.raises(PromptRefused, match=r"(?s)Required input is missing.*count"):
        server.run(graph.prompt)


def test_a_prompt_from_before_keep_tolerance(server, pictures):
    """Its names of other weights say nothing about how far earlier concepts may move."""
    graph = Graph(server)
    loaded = graph.demo_model()
    concept = graph.concept(graph.images(pictures["dog"]), "<new1>", "dog")
    neurons = graph.select(*loaded[:2], concept, graph.general(*loaded[:2]))
    trained = graph.train(loaded, concept, neurons())
    inputs = graph.prompt[trained]["inputs"]
    inputs |= {"keep_weight": 0.3, "calibration_weight": 0.1}
    del inputs["keep_tolerance"]
    graph.text([trained, 2])
    with pytest.raises(PromptRefused, match=r'(?s)Required input is missing.*"keep_tolerance"'):
        server.run(graph.prompt)


def test_image_with_alpha(server, pictures):
    graph = Graph(server)
    loaded = graph.add("LoadImage", image="cns_test/alpha.png")
    joined = graph.add("JoinImageWithAlpha", image=[loaded, 0], alpha=[loaded, 1])
    concept = graph.concept([joined, 0], "<new1>", "dog", captions="a dog")
    graph.text([concept[0], 1])
    assert "Image 1 has shape (64, 64, 4)" in message_of(server, graph)


def selection(graph: Graph, pictures, count: int = 4):
    loaded = graph.demo_model()
    general = graph.general(loaded[0], loaded[1], count)
    concept = graph.concept(graph.images(pictures["dog"]), "<new1>", "dog")
    return loaded, concept, general


def test_more_calibration_prompts_than_there_are(server, pictures):
    graph = Graph(server)
    loaded, concept, general = selection(graph, pictures, count=20)
    graph.text([graph.select(loaded[0], loaded[1], concept, general), 1])
    assert "only 4 were given" in message_of(server, graph)


def test_no_neurons_left(server, pictures):
    graph = Graph(server)
    loaded = graph.demo_model()
    concept = graph.concept(graph.images(pictures["dog"][:1]), "<new1>", "dog", captions="a house by a lake")
    general = graph.general(loaded[0], loaded[1], 1)
    graph.prompt[general[0]]["inputs"]["calibration_prompts"] = "a house by a lake"
    graph.text([graph.select(loaded[0], loaded[1], concept, general), 1])
    assert "No neurons are left" in message_of(server, graph)


def test_token_taught_twice(server, pictures):
    graph = Graph(server)
    loaded, concept, general = selection(graph, pictures)
    neurons = [graph.select(loaded[0], loaded[1], concept, general), 0]
    first = graph.train(loaded, concept, neurons, steps=1)
    second = graph.train(loaded, concept, neurons, steps=1, previous_state=[first, 0])
    graph.text([second, 2])
    assert "The token <new1> already means a dog" in message_of(server, graph)


def test_lora_before_training(server, pictures):
    """ModelMergeSimple stands for every node that patches weights."""
    graph = Graph(server)
    loaded, concept, general = selection(graph, pictures)
    neurons = [graph.select(loaded[0], loaded[1], concept, general), 0]
    merged = [graph.add("ModelMergeSimple", model1=loaded[0], model2=loaded[0], ratio=0.5), 0]
    graph.text([graph.train((merged, *loaded[1:]), concept, neurons), 2])
    assert "The MODEL wired in carries patches" in message_of(server, graph)


def test_file_cut_short_and_wrong_file(server, base, checkpoint):
    folder = base / "models" / "cns"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    graph = Graph(server)
    stored = graph.add("CNS_LoadState", state_name="broken.safetensors")
    graph.text([stored, 1])
    assert "broken.safetensors is cut short" in message_of(server, graph)
    (folder / "broken.safetensors").unlink()


def test_unknown_state(server):
    graph = Graph(server)
    graph.text([graph.add("CNS_LoadState", state_name="nowhere.safetensors"), 1])
    try:
        message = message_of(server, graph)
    except PromptRefused as refused:  # newer ComfyUI checks combo values before it runs anything
        message = str(refused)
    assert "nowhere.safetensors" in message


def test_save_outside_output(server, pictures):
    graph = Graph(server)
    loaded, concept, general = selection(graph, pictures)
    neurons = [graph.select(loaded[0], loaded[1], concept, general), 0]
    state = graph.train(loaded, concept, neurons, steps=1)
    graph.add("CNS_SaveState", state=[state, 0], filename_prefix="../../evil")
    assert "must name a file inside ComfyUI's output folder" in message_of(server, graph)


def test_captions_can_come_as_a_list(server, base, pictures):
    """Load Concept Images gives images of different sizes and captions of .txt files; empty ones need a captioner."""
    folder = base / "input" / "cns_test"
    for noun in ("dog", "hat"):
        for index, text in enumerate(CAPTIONS[noun].split("\n")):
            (folder / f"{noun}{index}.txt").write_text(text, encoding="utf-8")
    graph = Graph(server)
    stored = graph.add("CNS_LoadConceptImages", folder="cns_test")
    concept = graph.concept([stored, 0], "<new1>", "dog", captions=[stored, 1])
    shown = graph.text([concept[0], 1])
    message = message_of(server, graph)
    assert "The caption of image 1 is empty" in message  # alpha.png has no .txt
    (folder / "alpha.txt").write_text("a dark square", encoding="utf-8")
    result = server.run(graph.prompt)
    assert result.error is None, result.error
    assert result.outputs[shown]["text"][0].split("\n") == [
        "a dark square",
        *CAPTIONS["dog"].split("\n"),
        *CAPTIONS["hat"].split("\n"),
    ]


def test_prior_images_can_come_as_a_list(server, base, pictures):
    """One training on all of a folder's images, not one training for each."""
    folder = base / "input" / "cns_prior"
    folder.mkdir(exist_ok=True)
    for index, name in enumerate(pictures["dog"]):
        shutil.copy(base / "input" / name, folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"dog number {index}", encoding="utf-8")
    graph = Graph(server)
    loaded = graph.demo_model()
    concept = graph.concept(graph.images(pictures["dog"]))
    neurons = graph.select(loaded[0], loaded[1], concept, graph.general(loaded[0], loaded[1]))
    stored = graph.add("CNS_LoadConceptImages", folder="cns_prior")
    state = graph.train(loaded, concept, [neurons, 0], prior_images=[stored, 0], prior_prompts=[stored, 1])
    shown = graph.text([state, 2])
    result = server.run(graph.prompt)
    shutil.rmtree(folder)
    assert result.error is None, result.error
    assert len(result.outputs[shown]["text"]) == 1
    assert "prior loss none" not in result.outputs[shown]["text"][0]


def test_two_concepts_as_a_list(server, pictures):
    graph = Graph(server)
    loaded, concept, general = selection(graph, pictures)
    neurons = [graph.select(loaded[0], loaded[1], concept, general), 0]
    tokens = graph.add("CNS_LoadConceptImages", folder="cns_test")
    graph.text([graph.train(loaded, concept, neurons, initial_word=[tokens, 1]), 2])
    assert "initial_word got a list of" in message_of(server, graph)
