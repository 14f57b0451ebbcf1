"""The real transformers code on tiny models of several architectures that say what they were taught."""

from __future__ import annotations

import gc
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import comfy.model_management
import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.captioner.captioner import MODELS, NONE, caption_images, captioner_names, picture_of
from cns_pack.cns_core.comfy_adapter.captioner.loading import load_captioner
from cns_pack.cns_core.comfy_adapter.captioner.model import INSTRUCTION
from cns_pack.cns_core.comfy_adapter.captioner.replies import caption_in, loops
from cns_pack.cns_core.comfy_adapter.folders import CAPTIONERS
from cns_pack.cns_core.comfy_adapter.model_folder import download
from cns_pack.cns_core.errors import CNSError
from cns_pack.nodes.caption.caption_concept_images import CaptionConceptImages

from tests.support import tiny_captioners
from tests.support.tiny_captioners import CAPTION, CHAT, END, SIDE

BLACK = torch.zeros(SIDE, SIDE, 3)
BLIP = "blip-image-captioning-large"


@pytest.fixture
def captioners(tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, CAPTIONERS, ([str(tmp_path)], set()))
    torch.manual_seed(0)
    return tmp_path


@pytest.fixture
def tiny_blip(captioners):
    tiny_captioners.tiny_blip(captioners / "tiny-blip")
    return captioners / "tiny-blip"


def caption(name: str, image: torch.Tensor = BLACK) -> str:
    with torch.inference_mode():
        return caption_images({3: image}, name, False)[3]


def refusal(name: str) -> str:
    """What the user reads: one sentence."""
    with pytest.raises(CNSError) as refused:
        caption(name)
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 700
    return message


# --- Architectures


@pytest.mark.parametrize("kind", ["blip", "blip2", "git", "vit_gpt2", "florence2", "llava", "qwen2_vl"])
def test_models_of_every_kind(captioners, kind):
    """Word for word, without the prompt, although the caption names its many-token noun three times."""
    getattr(tiny_captioners, f"tiny_{kind}")(captioners / kind)
    assert caption(kind) == CAPTION


@torch.inference_mode()
def test_captions_of_pictures_of_any_size(tiny_blip):
    done = []
    images = {1: torch.zeros(40, 60, 3), 4: torch.zeros(64, 32, 3)}
    assert caption_images(images, "tiny-blip", False, lambda: done.append(1)) == {1: CAPTION, 4: CAPTION}
    assert len(done) == 2


def test_photos_are_made_smaller():
    """Qwen-VL and its like take every pixel: 12 megapixels would be 15,000 tokens."""
    assert picture_of(torch.zeros(300, 4000, 3)).size == (1024, 77)
    assert picture_of(torch.zeros(300, 400, 3)).size == (400, 300)


@pytest.mark.parametrize("kept", ["processor", "tokenizer"])
def test_chat_template_of_processor_or_tokenizer(captioners, kept):
    folder = captioners / "llava"
    tiny_captioners.tiny_llava(folder)
    if kept == "tokenizer":
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}), encoding="utf-8")
        (folder / "chat_template.jinja").unlink()
    assert caption("llava") == CAPTION


def test_thinking_is_turned_off_where_the_template_can(captioners):
    template = CHAT.replace("assistant\n{% endif %}", "assistant\n{% if enable_thinking %}<think>{% endif %}{% endif %}")
    template = "{% set enable_thinking = enable_thinking | default(true) %}" + template
    tiny_captioners.tiny_llava(captioners / "llava", CAPTION + END, template, enable_thinking=False)
    assert caption("llava") == CAPTION


# --- What a model writes


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("[CLS] a dog on grass [SEP] [PAD] [PAD]", "a dog on grass"),
        (" a  dog\n on grass <|end|>", "a dog on grass"),
        ("ASSISTANT: A dog on grass.", "A dog on grass."),
        ("<|start|>assistant\nA dog on grass.<|end|>\n<|start|>user\nWhat else?<|end|>", "A dog on grass."),
        ("A dog on grass. USER: What else? ASSISTANT: A tree.", "A dog on grass."),
        ("A dog on grass.\nuser\nWhat else?", "A dog on grass."),
        (f"USER: \n{INSTRUCTION} ASSISTANT: A dog on grass.", "A dog on grass."),
        (f"A dog on grass. {INSTRUCTION}", "A dog on grass."),
        ("<think>A dog? Yes.</think>\n\nA dog on grass.<|end|>", "A dog on grass."),
        ("A dog? Yes.</think><answer><|begin_of_box|>A dog on grass.<|end_of_box|></answer>", "A dog on grass."),
        ('Caption: "A **dog** on grass."', "A dog on grass."),
        ("A dog on grass at 10:30, with a sign: sale.<|end|>", "A dog on grass at 10:30, with a sign: sale."),
        ("A dog on grass. Behind it are trees and a", "A dog on grass."),
        ("A dog on grass. It sits.", "A dog on grass. It sits."),
        ("a dog on grass in front of a", "a dog on grass in front of a"),
        ("<think>A dog? Let me", ""),
        ("<|end|>", ""),
        ("!!!!!!!!", ""),
        (INSTRUCTION, ""),
        ("assistant\n", ""),
    ],
)
def test_the_answer_alone(reply, expected):
    marks = {"[CLS]", "[SEP]", "[PAD]", "<|start|>", "<|end|>"}
    assert caption_in(reply, "the prompt", INSTRUCTION, marks) == expected


def test_thinking_begun_by_the_prompt():
    assert (
        caption_in("A dog? Yes.</think>A dog on grass.", "<|im_start|>assistant\n<think>\n", INSTRUCTION, [])
        == "A dog on grass."
    )
    assert caption_in("A dog? Let me look closer", "<|im_start|>assistant\n<think>\n", INSTRUCTION, []) == ""


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (f"<think>What else?</think>\n{CAPTION}{END}", CAPTION),
        (f"{CAPTION}\nUSER: What else?{END}", CAPTION),
        (f"ASSISTANT: {CAPTION}{END}", CAPTION),
    ],
)
def test_replies_of_chat_models(captioners, says, expected):
    tiny_captioners.tiny_llava(captioners / "llava", says)
    assert caption("llava") == expected


@pytest.mark.parametrize("says", [END, f"<think>Let me look.{END}", f" \n{END}"])
def test_a_captioner_without_an_answer(captioners, says):
    tiny_captioners.tiny_llava(captioners / "llava", says)
    assert "llava has nothing to say about image 3: write its caption by hand" in refusal("llava")


@pytest.mark.parametrize(
    "words", ["a bald bald bald man", "a dog a dog a dog", "on a red hat on a red hat", "ballballballballs"]
)
def test_what_loops(words):
    assert loops(words)


@pytest.mark.parametrize(
    "words", [CAPTION, "a dog and a dog", "a tuk tuk in 10000", "a man in a hat and a man in a cap", "..."]
)
def test_what_does_not_loop(words):
    assert not loops(words)


def test_a_greedy_loop_is_broken(captioners):
    """The model likes b best, whatever came before, then a, then c: greedy decoding says b sixty times."""
    tiny_captioners.tiny_git(captioners / "git", ranking=("b", "a", "c", "[SEP]"))
    assert caption("git") == "bbabcb"  # bb, ba, ab, bc and cb come once; no pair is left that begins with b


# --- Models that cannot be used


@pytest.mark.parametrize("kept_bytes", [None, 1000])
def test_damaged_weights(tiny_blip, kept_bytes):
    weights = tiny_blip / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    expected = "has no weights (.safetensors): put the missing files there"
    if kept_bytes:
        weights.write_bytes(whole[:kept_bytes])  # a download that was cut short
        expected = "does not hold a captioning model that transformers can load"
    assert expected in refusal("tiny-blip")


@pytest.mark.parametrize("pattern", ["config.json", "*processor_config.json", "tokenizer.json"])
def test_other_files_cut_short(tiny_blip, pattern):
    (tiny_blip / "vocab.txt").unlink()
    file = next(tiny_blip.glob(pattern))
    file.write_bytes(file.read_bytes()[:40])
    assert "does not hold a captioning model that transformers can load" in refusal("tiny-blip")


def test_no_tokenizer(tiny_blip):
    for file in ("vocab.txt", "tokenizer.json"):
        (tiny_blip / file).unlink()
    assert "tiny-blip" in refusal("tiny-blip")  # from transformers 5 it begins with an empty one, and has nothing to say


def test_text_model(captioners):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=10, n_embd=8, n_layer=1, n_head=1)).save_pretrained(captioners / "gpt")
    assert "gpt is a model of type 'gpt2', which does not describe images" in refusal("gpt")


@pytest.mark.parametrize("kind", ["moondream1", "gpt2"])
def test_code_that_comes_with_a_model_never_runs(captioners, kind):
    folder = captioners / "moondream"
    folder.mkdir()
    code = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "auto_map": code}), encoding="utf-8")
    (folder / "own.py").write_text(f"open({str(captioners / 'ran')!r}, 'w')", encoding="utf-8")
    assert "moondream needs program code of its own, which is never run" in refusal("moondream")
    assert not (captioners / "ran").exists()


def test_tokenizer_with_code_of_its_own(captioners):
    tiny_captioners.tiny_vit_gpt2(captioners / "vit")
    settings = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}}
    (captioners / "vit" / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (captioners / "vit" / "own.py").write_text(f"open({str(captioners / 'ran')!r}, 'w')", encoding="utf-8")
    assert "vit needs program code of its own, which is never run" in refusal("vit")
    assert not (captioners / "ran").exists()


def test_model_newer_than_transformers(captioners):
    (captioners / "new").mkdir()
    (captioners / "new" / "config.json").write_text('{"model_type": "qwen9_vl"}', encoding="utf-8")
    assert "does not know the model type 'qwen9_vl'" in refusal("new")


def test_pickled_weights(tiny_blip):
    (tiny_blip / "model.safetensors").rename(tiny_blip / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickle, which can run code when it is opened" in refusal("tiny-blip")


def test_weights_under_other_names(captioners):
    """As in repositories made for code of their own: transformers would fill the gaps with random numbers."""
    from safetensors.torch import load_file, save_file

    tiny_captioners.tiny_florence2(captioners / "florence")
    file = captioners / "florence" / "model.safetensors"
    save_file({f"old.{name}": value for name, value in load_file(file).items()}, file, {"format": "pt"})
    assert "100% of the weights of" in refusal("florence")


def test_a_template_that_has_no_place_for_the_image(captioners):
    tiny_captioners.tiny_llava(captioners / "llava")
    (captioners / "llava" / "chat_template.jinja").write_text("USER: {{ messages[0]['content'][1]['text'] }}", encoding="utf-8")
    assert "The captioner llava fails at image 3 (ValueError: " in refusal("llava")


def test_out_of_memory(captioners):
    tiny_captioners.tiny_git(captioners / "git")
    file = captioners / "git" / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "num_beams": 10**11}), encoding="utf-8")
    assert "not enough memory for the captioning model git" in refusal("git")


# --- Cancel and memory


def test_cancel_while_a_caption_is_written(tiny_blip):
    model = load_captioner(tiny_blip, torch.device("cpu"))
    comfy.model_management.interrupt_current_processing()
    try:
        assert model.caption(tiny_captioners.black_picture()) == "a"  # after one token
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            caption("tiny-blip")
    finally:
        comfy.model_management.interrupt_current_processing(False)


@pytest.mark.parametrize("kind", ["blip", "llava"])
def test_memory_is_free_afterwards(captioners, kind):
    """At once, not when Python's collector comes by: the training needs the room."""
    from transformers import PreTrainedModel

    getattr(tiny_captioners, f"tiny_{kind}")(captioners / kind)
    gc.collect()
    gc.disable()
    try:
        caption(kind)
        assert [held for held in gc.get_objects() if issubclass(type(held), PreTrainedModel)] == []
    finally:
        gc.enable()


# --- Folders and downloads


def test_folders_are_listed(tiny_blip):
    names = captioner_names()
    assert names[0] == BLIP
    assert "tiny-blip" in names
    assert names[-1] == NONE


def test_missing_model_says_where_it_belongs(captioners):
    assert f"{BLIP} is not in {captioners / BLIP}: turn on download_captioner" in refusal(BLIP)


def test_folder_without_a_model(captioners):
    (captioners / BLIP).mkdir()
    with pytest.raises(CNSError, match=r"has no config\.json"):
        caption_images({1: BLACK}, BLIP, True)


def test_whatever_a_download_breaks_with_is_told(captioners, monkeypatch):
    """The hub's downloaders have kinds of errors of their own, some of them plain RuntimeErrors."""

    def broken(*_, **__):
        raise RuntimeError("Data processing error: connection reset.\n\nA page of advice")

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    with pytest.raises(
        CNSError, match=r"could not be downloaded to .* \(RuntimeError: .*connection reset\): check the network"
    ):
        caption_images({1: BLACK}, BLIP, True)


def test_failed_download_leaves_no_half_model(captioners):
    """The tests run offline, so the hub answers nothing."""
    said: list[str] = []
    with pytest.raises(CNSError, match="could not be downloaded"):
        caption_images({1: BLACK}, BLIP, True, on_download=said.append)
    assert str(captioners / BLIP) in said[0]
    assert "of about 1.9 GB" in said[0]
    assert not (captioners / BLIP).exists()


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    """A server that answers as the hub does, and has one repository, of which it gives one commit."""
    from huggingface_hub import utils

    reset_sessions = getattr(utils, "reset_sessions", None) or utils.close_session  # the latter from 1.0
    source, files = MODELS.known[BLIP], tmp_path_factory.mktemp("hub") / "blip"
    tiny_captioners.tiny_blip(files)
    (files / "pytorch_model.bin").write_bytes(b"a pickle")

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            api, folder, name = f"/api/models/{source.repository}", *self.path.rsplit("/", 1)
            if self.path == f"{api}/revision/{source.revision}":
                named = [{"rfilename": file.name} for file in files.iterdir()]
                body = json.dumps({"id": source.repository, "sha": source.revision, "siblings": named}).encode()
            elif self.path.startswith(f"{api}/tree/{source.revision}?"):  # what huggingface_hub 2 asks for
                sizes = [
                    {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0"} for file in files.iterdir()
                ]
                body = json.dumps(sizes).encode()
            elif folder == f"/{source.repository}/resolve/{source.revision}" and (files / name).is_file():
                body = (files / name).read_bytes()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            for header in {"Content-Length": len(body), "ETag": f'"{name}"', "X-Repo-Commit": source.revision}.items():
                self.send_header(header[0], str(header[1]))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        reset_sessions()
        yield server
        server.shutdown()
    reset_sessions()


def test_the_pinned_commit_is_downloaded(hub, captioners):
    assert all(len(source.revision) == 40 for source in MODELS.known.values())
    with torch.inference_mode():
        assert caption_images({1: BLACK}, BLIP, True) == {1: CAPTION}
    assert (captioners / BLIP / "model.safetensors").is_file()
    assert not (captioners / BLIP / "pytorch_model.bin").exists()
    assert not (captioners / f".{BLIP}.download").exists()


def test_after_a_cancel_the_next_try_waits_for_the_same_download(captioners, monkeypatch):
    begun, go = [], threading.Event()

    def slow(*_, local_dir, **__) -> None:
        begun.append(local_dir)
        go.wait(20)
        tiny_captioners.tiny_blip(local_dir)

    def cancelled(_: str) -> None:
        raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr("huggingface_hub.snapshot_download", slow)
    source, target = MODELS.known[BLIP], captioners / BLIP
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        download(source, target, cancelled)
    threading.Timer(0.3, go.set).start()
    assert download(source, target, lambda _: None) == target
    assert (target / "model.safetensors").is_file()
    assert len(begun) == 1


# --- The node


def test_the_node_asks_for_the_captions_that_are_missing(tiny_blip):
    node = CaptionConceptImages.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    inputs = {"images": [torch.zeros(3, SIDE, SIDE, 3)], "token": ["<new1>"], "noun": ["dachshund"]}
    given = {"captioner": ["tiny-blip"], "download_captioner": [False], "captions": ["a dog\n\na cat"]}
    with torch.inference_mode():
        concept, shown = node.execute(**inputs, **given).result
    assert concept.captions == ("a dog", CAPTION, "a cat")
    assert shown == f"a dog\n{CAPTION}\na cat"
