"""Pictures that are broken or unusual in any way are read right, or left out with a reason."""

from __future__ import annotations

import io
import struct
import zlib

import folder_paths
import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.pictures.folders import find_pictures
from cns_pack.cns_core.comfy_adapter.pictures.pictures import Unreadable, read_picture
from cns_pack.cns_core.errors import CNSError
from cns_pack.nodes.caption.load_concept_images import LoadConceptImages
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, features

from tests.support.fuzzing import check_sentence, cut_or_flipped, memory_below, thrown

MODES = {
    "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "jpg": ["L", "RGB", "CMYK"],
    "gif": ["1", "L", "P"],
    "webp": ["RGB", "RGBA"],
    "bmp": ["1", "L", "P", "RGB"],
    "tif": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"],
}
if features.check("avif"):
    MODES["avif"] = ["RGB", "RGBA"]
FORMATS = {"jpg": "JPEG", "tif": "TIFF"}
KINDS = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes]
RESOLUTION = 16


def encoded(suffix: str, mode: str, frames: int = 1, orientation: int = 1, size: tuple[int, int] = (24, 20)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    picture = picture.convert("L").convert("I").convert(mode) if mode == "I;16" else _converted(picture, mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"save_all": True, "append_images": [picture.rotate(90)] * (frames - 1)} if frames > 1 else {}
    if suffix in ("png", "jpg", "webp", "tif"):
        more["exif"] = exif
    file = io.BytesIO()
    picture.save(file, FORMATS.get(suffix, suffix.upper()), **more)
    return file.getvalue()


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.merge("LAB", picture.split())
    return picture.convert("L").convert(mode) if mode in ("LA", "I", "F", "1") else picture.convert(mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An ``input/dog``, empty."""
    root = tmp_path_factory.mktemp("input")
    before, folder_paths.input_directory = folder_paths.input_directory, str(root)
    (root / "dog").mkdir()
    yield root / "dog"
    folder_paths.input_directory = before


def check(folder, name: str, blob: bytes) -> torch.Tensor | None:
    """The image of a folder with that one file; None where it is left out, with a reason in one line."""
    path = folder / name
    path.write_bytes(blob)
    try:
        with memory_below(2**25):
            image, mask, notes = read_picture(path, RESOLUTION)
    except Unreadable as reason:
        check_reason(str(reason))
        return None
    finally:
        path.unlink()
    assert image.dtype == torch.float32
    assert image.shape[0] == 1
    assert image.shape[3] == 3
    assert min(image.shape[1:3]) <= RESOLUTION
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert mask is None or (mask.shape == image.shape[:3] and 0 <= float(mask.min()) <= float(mask.max()) <= 1)
    for note in notes:
        check_reason(note)
    return image


def check_reason(reason: str) -> None:
    assert reason.splitlines() == [reason], repr(reason)
    assert reason.isprintable(), repr(reason)


@thrown(100)
@given(kind=st.sampled_from(KINDS), frames=st.integers(1, 3), orientation=st.integers(0, 9))
@example(kind=("tif", "L"), frames=1, orientation=5)
@example(kind=("tif", "CMYK"), frames=1, orientation=8)
def test_every_kind_is_read_upright(folder, kind, frames, orientation):
    suffix, mode = kind
    frames = frames if suffix in ("png", "gif", "webp", "tif", "avif") else 1
    image = check(folder, f"1.{suffix}", encoded(suffix, mode, frames, orientation))
    if mode in ("F", "I"):  # without a known white
        assert image is None
    else:
        turned = orientation in range(5, 9) and suffix in ("png", "jpg", "webp", "tif")
        assert image is not None
        assert image.shape[1:3] == ((19, 16) if turned else (16, 19))  # 24 x 20 scaled to 16 on the shorter side


@thrown(300)
@given(data=st.data())
def test_cut_or_flipped(folder, data):
    suffix, mode = data.draw(st.sampled_from(KINDS))
    check(folder, f"1.{suffix}", data.draw(cut_or_flipped(encoded(suffix, mode))))


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@thrown(50)
@given(width=st.integers(0, 2**32 - 1), height=st.integers(0, 2**32 - 1))
@example(width=0, height=0)
@example(width=2**31 - 1, height=1)
@example(width=100_000, height=100_000)
def test_enormous_claims(folder, width, height):
    if width * height > 2**21:
        assert check(folder, "1.png", claiming(width, height)) is None


@thrown(150)
@given(suffix=st.sampled_from(sorted(MODES)), blob=st.binary(max_size=64))
@example(suffix="png", blob=b"")
@example(suffix="jpg", blob=encoded("png", "RGB"))
def test_any_bytes(folder, suffix, blob):
    check(folder, f"1.{suffix}", blob)


NAMES = st.text(st.characters(exclude_characters='/\\\0:*?"<>|', exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
SUFFIXES = st.sampled_from([".png", ".PNG", ".jpg", ".txt", ".caption", ".heic", "", ".png.txt", "-masklabel.png", "_mask.png"])
CONTENT = st.one_of(
    st.binary(max_size=30), st.sampled_from([encoded("png", "RGB"), "狗 a\n\nb".encode("utf-16"), b"\xff\xfe\x00"])
)


@thrown(100)
@given(files=st.dictionaries(st.builds("{}{}".format, NAMES, SUFFIXES), CONTENT, max_size=5))
@example(files={"²1.png": encoded("png", "RGB"), "1²3.png": b""})
@example(files={"٣.png": encoded("png", "RGB"), "1.txt": b"\xff"})
def test_any_folder(folder, files):
    files = {name: content for name, content in files.items() if name not in (".", "..")}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        output = LoadConceptImages.execute("dog", RESOLUTION)
        images, captions, masks = output.args
        assert len(images) == len(captions) == len(masks) > 0
        assert LoadConceptImages.fingerprint_inputs("dog") == LoadConceptImages.fingerprint_inputs("dog")
    except CNSError as error:
        check_sentence(error)
    finally:
        for name in files:
            (folder / name).unlink(missing_ok=True)


@thrown(200)
@given(name=st.one_of(st.text(max_size=20), st.sampled_from(["..", "/", "a" * 5000, "dog\0", "C:\\", "dog/..", "\ud800"])))
@example(name="a" * 5000)
@example(name="dog\0")
@example(name="\ud800")
def test_any_folder_name(folder, name):
    with pytest.raises(CNSError) as caught:
        find_pictures(name)
    check_sentence(caught.value)
