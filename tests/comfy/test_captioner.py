"""The real transformers code on a tiny randomly initialised BLIP."""

from __future__ import annotations

import folder_paths
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.captioner import FOLDER, NONE, caption_images, captioner_names
from cns_pack.cns_core.errors import CNSError


@pytest.fixture
def captioners(tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(tmp_path)], set()))
    return tmp_path


@pytest.fixture
def tiny_blip(captioners):
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "on", "grass", "hat", "the", "red"]
    (captioners / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab_file=str(captioners / "vocab.txt"))
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(words), "encoder_hidden_size": 32, "bos_token_id": 2, "sep_token_id": 3}
    ids = {"pad_token_id": 0, "eos_token_id": 3}
    config = BlipConfig(text_config={**text, **ids}, vision_config={**small, "image_size": 32, "patch_size": 8})
    torch.manual_seed(0)
    folder = captioners / "tiny-blip"
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


@torch.inference_mode()
def test_captions_of_pictures_of_any_size(tiny_blip):
    images = [torch.rand(40, 60, 3), torch.rand(64, 32, 3)]
    done = []
    captions = caption_images(images, "tiny-blip", False, lambda: done.append(1))
    assert len(captions) == len(done) == 2
    assert all(isinstance(text, str) for text in captions)
    assert captions == caption_images(images, "tiny-blip", False)


def test_folders_are_listed(tiny_blip):
    names = captioner_names()
    assert names[0] == "blip-image-captioning-large"
    assert "tiny-blip" in names
    assert names[-1] == NONE


def test_missing_model_says_where_it_belongs(captioners):
    with pytest.raises(CNSError, match=r"blip-image-captioning-large is not in .*download_captioner"):
        caption_images([torch.rand(8, 8, 3)], "blip-image-captioning-large", False)


@pytest.mark.parametrize("kept_bytes", [None, 1000])
def test_damaged_model(tiny_blip, kept_bytes):
    weights = tiny_blip / "model.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    if kept_bytes:
        weights.write_bytes(whole[:kept_bytes])  # a download that was cut short
    with pytest.raises(CNSError, match="does not hold a captioning model"):
        caption_images([torch.rand(8, 8, 3)], "tiny-blip", False)


def test_folder_without_a_model(captioners):
    (captioners / "blip-image-captioning-large").mkdir()
    with pytest.raises(CNSError, match=r"has no config\.json"):
        caption_images([torch.rand(8, 8, 3)], "blip-image-captioning-large", True)


def test_whatever_a_download_breaks_with_is_told(captioners, monkeypatch):
    """The hub's downloaders have kinds of errors of their own, some of them plain RuntimeErrors."""

    def broken(*_, **__):
        raise RuntimeError("Data processing error: connection reset")

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    with pytest.raises(CNSError, match=r"could not be downloaded to .*connection reset Check the network"):
        caption_images([torch.rand(8, 8, 3)], "blip-image-captioning-large", True)


def test_failed_download_leaves_no_half_model(captioners):
    """The tests run offline, so the hub answers nothing."""
    said: list[str] = []
    with pytest.raises(CNSError, match="could not be downloaded"):
        caption_images([torch.rand(8, 8, 3)], "blip-image-captioning-large", True, on_download=said.append)
    assert str(captioners / "blip-image-captioning-large") in said[0]
    assert "of about 1.9 GB" in said[0]
    assert not (captioners / "blip-image-captioning-large").exists()
