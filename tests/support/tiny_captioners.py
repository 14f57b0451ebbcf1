"""Real image-to-text models of several architectures, tiny and with random weights, that say what a test wants.

Each is saved with its processor and tokenizer, as a folder in ``models/captioners`` holds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from cns_pack.cns_core.comfy_adapter.captioner.model import INSTRUCTION
from PIL import Image

SIDE = 32  # pixels that each model sees
CAPTION = "a dachshund, a second dachshund and a third dachshund on a hill"
TEXTS = [CAPTION, INSTRUCTION, "USER: ASSISTANT: user assistant <think> </think> What else? Let me look. bald man hat"]
SIZE = {"height": SIDE, "width": SIDE}
# Weights far from zero, so that every token leaves a state of its own in the last layer.
SMALL = {"hidden_size": 96, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
VISION = {**SMALL, "image_size": SIDE, "patch_size": 8}
END = "<|im_end|>"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def black_picture() -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE))


def tokenizer_of(kind: str, *more: str, **special: str) -> Any:
    """A byte-level BPE, as that class of transformers, in which a dachshund takes several tokens."""
    import transformers
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    marks = list(dict.fromkeys([*special.values(), *more]))
    trained.train_from_iterator(TEXTS, vocab_size=300, min_frequency=2, special_tokens=marks)
    image = {"extra_special_tokens": {"image_token": "<image>"}} if "<image>" in more else {}
    tokenizer = getattr(transformers, kind)(tokenizer_object=trained._tokenizer, **special, **image)
    tokenizer.add_special_tokens({"additional_special_tokens": list(more)})
    return tokenizer


def ids_of(tokenizer: Any, *names: str) -> dict[str, int]:
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names}


def teach(model: Any, inputs: dict[str, torch.Tensor], said: torch.Tensor) -> None:
    """Solves the last layer so that it says ``said``, token after token; ``inputs`` end with all of it but the last one."""
    head, seen = model.get_output_embeddings(), []
    hook = head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        model.eval()(**inputs)
        hook.remove()
        states = seen[0][0, -said.numel() :].double()
        wanted = torch.nn.functional.one_hot(said, head.weight.shape[0]).double()
        head.weight.copy_((torch.linalg.pinv(states) @ wanted * 20).T)
        if head.bias is not None:
            head.bias.zero_()


def teach_chat(model: Any, processor: Any, says: str, **options: Any) -> None:
    """``says``: the reply, with the tokens that end it; ``options``: the template's."""
    content = [{"type": "image"}, {"type": "text", "text": INSTRUCTION}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, **options)
    inputs = processor(images=[black_picture()], text=[prompt + says], return_tensors="pt")
    inputs.pop("token_type_ids", None)
    length = inputs["input_ids"].shape[1]
    shorter = {name: value[:, :-1] if value.shape == (1, length) else value for name, value in inputs.items()}
    teach(model, shorter, processor.tokenizer(says, return_tensors="pt").input_ids[0])


def tiny_blip(folder: Path, says: str = CAPTION) -> None:
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nda\n##chs\n##hund\n,\nsecond\nand\nthird\non\nhill"
    folder.mkdir()
    (folder / "vocab.txt").write_text(pieces, encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    ids = {"bos_token_id": tokenizer.cls_token_id, **ids_of(tokenizer, "sep", "pad"), "eos_token_id": tokenizer.sep_token_id}
    text = {**SMALL, **ids, "vocab_size": len(tokenizer), "encoder_hidden_size": 96, "tie_word_embeddings": False}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION, tie_word_embeddings=False))
    processor = BlipProcessor(BlipImageProcessor(size=SIZE), tokenizer)
    seen = processor(images=[black_picture()], return_tensors="pt")
    said = tokenizer(f"[CLS]{says}[SEP]", add_special_tokens=False, return_tensors="pt").input_ids
    states = model.vision_model.eval()(**seen)[0]
    teach(model.text_decoder, {"input_ids": said[:, :-1], "encoder_hidden_states": states}, said[0, 1:])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def tiny_blip2(folder: Path, says: str = CAPTION) -> None:
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    special = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}
    tokenizer = tokenizer_of("GPT2TokenizerFast", "<image>", **special)
    ids = ids_of(tokenizer, "bos", "eos", "pad")
    text = {"model_type": "opt", "vocab_size": len(tokenizer), "hidden_size": 96, "ffn_dim": 96, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "word_embed_proj_dim": 96, "init_std": 0.3, "tie_word_embeddings": False, **ids}
    queries = {**SMALL, "encoder_hidden_size": 96, "vocab_size": len(tokenizer)}
    model = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=VISION,
            qformer_config=queries,
            text_config=text,
            num_query_tokens=4,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    )
    processor = Blip2Processor(BlipImageProcessor(size=SIZE), tokenizer, num_query_tokens=4)
    seen = processor(images=[black_picture()], return_tensors="pt")
    said = tokenizer(f"</s>{says}</s>", add_special_tokens=False, return_tensors="pt").input_ids
    asked = torch.cat([torch.full((1, 4), model.config.image_token_index), said[:, :-1]], 1)
    teach(model, {"pixel_values": seen["pixel_values"], "input_ids": asked}, said[0, 1:])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def tiny_git(folder: Path, says: str = CAPTION, ranking: tuple[str, ...] = ()) -> None:
    """``ranking``: in place of what it says, the words it always likes best, in this order."""
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    tokenizer = tokenizer_of("PreTrainedTokenizerFast", bos_token="[CLS]", eos_token="[SEP]", pad_token="[PAD]")
    ids = ids_of(tokenizer, "bos", "eos", "pad")
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 128, **SMALL}
    model = GitForCausalLM(GitConfig(vision_config=VISION, tie_word_embeddings=False, **sizes, **ids))
    processor = GitProcessor(CLIPImageProcessor(size=SIZE, crop_size=SIZE), tokenizer)
    seen = processor(images=[black_picture()], return_tensors="pt")
    said = tokenizer(f"[CLS]{says}[SEP]", return_tensors="pt").input_ids
    teach(model, {**seen, "input_ids": said[:, :-1]}, said[0, 1:])
    if ranking:
        model.output.weight.data.zero_()
        for place, word in enumerate(ranking):
            model.output.bias.data[tokenizer(word).input_ids[0]] = 100 - place
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def tiny_vit_gpt2(folder: Path, says: str = CAPTION) -> None:
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig, ViTImageProcessor

    end = "<|endoftext|>"
    tokenizer = tokenizer_of("GPT2TokenizerFast", bos_token=end, eos_token=end, unk_token=end, pad_token=end)
    text = {"vocab_size": len(tokenizer), "n_embd": 96, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
    decoder = GPT2Config(**text, is_decoder=True, add_cross_attention=True, tie_word_embeddings=False)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), decoder, tie_word_embeddings=False)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = tokenizer.eos_token_id
    model, images = VisionEncoderDecoderModel(config), ViTImageProcessor(size=SIZE)
    seen = model.encoder.eval()(**images(black_picture(), return_tensors="pt"))[0]
    said = tokenizer(f"{end}{says}{end}", return_tensors="pt").input_ids
    teach(model.decoder, {"input_ids": said[:, :-1], "encoder_hidden_states": seen}, said[0, 1:])
    model.save_pretrained(folder)
    images.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny_florence2(folder: Path, says: str = CAPTION) -> None:
    from transformers import CLIPImageProcessor, Florence2Config, Florence2ForConditionalGeneration, Florence2Processor

    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = tokenizer_of("BartTokenizerFast", "<image>", **special)
    ids = ids_of(tokenizer, "bos", "eos", "pad")
    text = {
        "d_model": 96,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_ffn_dim": 96,
        "decoder_ffn_dim": 96,
        "init_std": 0.3,
    }
    text |= {
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": False,
    }
    vision = {"depths": [1], "patch_size": [7], "patch_stride": [8], "patch_padding": [3], "patch_prenorm": [False]}
    vision |= {"embed_dim": [32], "num_heads": [2], "num_groups": [2], "window_size": 4, "projection_dim": 96}
    config = Florence2Config(
        text_config={**text, **ids, "decoder_start_token_id": tokenizer.eos_token_id, "forced_eos_token_id": None},
        vision_config=vision,
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
        **ids,
    )
    model = Florence2ForConditionalGeneration(config)
    for part in (model.model.language_model.encoder, model.model.language_model.decoder):
        part.embed_tokens.weight = torch.nn.Parameter(part.embed_tokens.weight.data.clone())  # else saved once, and not tied
    images = CLIPImageProcessor(size=SIZE, crop_size=SIZE, image_seq_length=17)
    processor = Florence2Processor(images, tokenizer)
    seen = processor(images=[black_picture()], text=["<DETAILED_CAPTION>"], return_tensors="pt")
    said = tokenizer(f"</s><s>{says}</s>", add_special_tokens=False, return_tensors="pt").input_ids
    teach(model, {**seen, "decoder_input_ids": said[:, :-1]}, said[0, 1:])
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def tiny_llava(folder: Path, says: str = CAPTION + END, template: str = CHAT, **options: Any) -> None:
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    special = {"bos_token": "<s>", "eos_token": END, "pad_token": "<pad>"}
    tokenizer = tokenizer_of("PreTrainedTokenizerFast", "<image>", "<|im_start|>", **special)
    ids = ids_of(tokenizer, "bos", "eos", "pad")
    text = {**SMALL, **ids, "model_type": "llama", "vocab_size": len(tokenizer), "num_key_value_heads": 4}
    config = LlavaConfig(
        vision_config={**VISION, "model_type": "clip_vision_model"},
        text_config={**text, "tie_word_embeddings": False},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        **ids,
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size=SIZE, crop_size=SIZE),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    model = LlavaForConditionalGeneration(config)
    teach_chat(model, processor, says, **options)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def tiny_qwen2_vl(folder: Path, says: str = CAPTION + END) -> None:
    """In bfloat16, as these models come."""
    import transformers
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor, Qwen2VLProcessor

    marks = {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>", "image": "<|image_pad|>"}
    marks |= {"video": "<|video_pad|>"}
    tokenizer = tokenizer_of("Qwen2TokenizerFast", *marks.values(), "<|im_start|>", eos_token=END, pad_token="<|endoftext|>")
    ids = ids_of(tokenizer, "eos", "pad")
    text = {**SMALL, **ids, "vocab_size": len(tokenizer), "num_key_value_heads": 4, "bos_token_id": None}
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 96, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8}
    config = Qwen2VLConfig(
        text_config={**text, "rope_scaling": {"type": "mrope", "mrope_section": [4, 4, 4]}, "tie_word_embeddings": False},
        vision_config=vision,
        tie_word_embeddings=False,
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()},
        **ids,
    )
    model = Qwen2VLForConditionalGeneration(config).bfloat16().float()
    sizes = {"min_pixels": 16 * 16, "max_pixels": 10**8, "patch_size": 8}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**sizes),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(**sizes),
        chat_template=CHAT.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    teach_chat(model, processor, says)
    model.bfloat16().save_pretrained(folder)
    processor.save_pretrained(folder)
