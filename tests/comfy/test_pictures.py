"""Folders of a user's pictures, as they really are."""

from __future__ import annotations

import os
import time

import folder_paths
import numpy as np
import pytest
import torch
from cns_pack.cns_core.comfy_adapter.pictures import folders as module
from cns_pack.cns_core.comfy_adapter.pictures.folders import concept_folders, find_pictures
from cns_pack.cns_core.errors import CNSError
from cns_pack.nodes.caption.load_concept_images import LoadConceptImages
from PIL import Image, features

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """An ``input`` with one red picture in ``dog``."""
    root = tmp_path / "input"
    (root / "dog").mkdir(parents=True)
    (root / "notes").mkdir()
    Image.new("RGB", (8, 8), RED).save(root / "dog" / "01.png")
    monkeypatch.setattr(folder_paths, "input_directory", str(root))
    return root


@pytest.fixture
def empty(inputs):
    """``input/dog`` without a picture in it."""
    (inputs / "dog" / "01.png").unlink()
    return inputs / "dog"


def load(folder: str = "dog", **widgets: int):
    output = LoadConceptImages.execute(folder, **widgets)
    images, captions, _ = output.args
    return images, captions, output.ui["text"][0].split("\n")


def names(folder: str = "dog") -> list[str]:
    return [picture.path.name for picture in find_pictures(folder).pictures]


def colours(image: torch.Tensor) -> list[tuple[float, ...]]:
    """The image's different pixels as 8-bit numbers."""
    return [tuple(pixel) for pixel in (image[0].reshape(-1, 3) * 255).unique(dim=0).round().int().tolist()]


# ---- Which folders, which files


def test_folders_with_images_are_listed_and_unreadable_ones_passed_over(inputs):
    (inputs / "locked").mkdir()
    Image.new("RGB", (8, 8)).save(inputs / "locked" / "01.png")
    (inputs / "locked").chmod(0)
    try:
        readable = os.access(inputs / "locked", os.R_OK)  # root reads everything
        assert concept_folders() == (["dog", "locked"] if readable else ["dog"])
    finally:
        (inputs / "locked").chmod(0o755)


def test_the_folders_are_walked_again_when_one_has_changed(inputs, monkeypatch):
    walks, walk = [], os.walk
    monkeypatch.setattr(os, "walk", lambda *given, **options: walks.append(1) or walk(*given, **options))
    monkeypatch.setattr(module, "_CLOCK_TICK", 0)
    before = concept_folders()
    assert concept_folders() == before
    assert len(walks) == 1
    time.sleep(0.05)  # longer than a tick of the kernel's clock
    (inputs / "dog" / "more").mkdir()
    Image.new("RGB", (8, 8)).save(inputs / "dog" / "more" / "1.png")
    assert concept_folders() == [*before, "dog/more"]


def test_what_changed_just_now_is_looked_at_again(inputs):
    """The next change could get the same time."""
    before = concept_folders()
    stamp = os.stat(inputs / "dog")
    (inputs / "dog" / "more").mkdir()
    Image.new("RGB", (8, 8)).save(inputs / "dog" / "more" / "1.png")
    os.utime(inputs / "dog", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert concept_folders() == [*before, "dog/more"]


@pytest.mark.parametrize("folder", [".ipynb_checkpoints", "@eaDir", "dog/@eaDir", "__MACOSX/dog", "#recycle"])
def test_what_systems_leave_is_no_folder_of_pictures(inputs, folder):
    (inputs / folder).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(inputs / folder / "01.png")
    assert concept_folders() == ["dog"]


def test_folders_and_files_come_in_natural_order(inputs, empty):
    for name in ("10.png", "2.png", "Dog 1.png", "1.png", "dog 10.png", "dog 9.png", "01.png"):
        Image.new("RGB", (8, 8)).save(empty / name)
    assert names() == ["01.png", "1.png", "2.png", "10.png", "Dog 1.png", "dog 9.png", "dog 10.png"]
    for name in ("cat 10", "cat 9"):
        (inputs / name).mkdir()
        Image.new("RGB", (8, 8)).save(inputs / name / "1.png")
    assert concept_folders() == ["cat 9", "cat 10", "dog"]


def test_a_link_to_another_disk_works(inputs, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "01.png")
    try:
        (inputs / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    assert concept_folders() == ["dog", "linked"]
    assert names("linked") == ["01.png"]


def test_a_link_that_leads_back_ends(inputs):
    try:
        (inputs / "dog" / "everything").symlink_to(inputs, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    assert concept_folders() == ["dog"]


@pytest.mark.parametrize("folder", ["", "..", "../input/dog", "nowhere", "/etc"])
def test_other_folders_are_refused(inputs, folder):
    with pytest.raises(CNSError, match="There is no folder"):
        find_pictures(folder)


def test_a_folder_without_pictures(inputs):
    for name in ("1-masklabel.png", "clip.mp4"):
        (inputs / "notes" / name).touch()
    with pytest.raises(
        CNSError,
        match=r"notes holds no pictures \(.*\.heic.*\.png.*1-masklabel\.png: left out \(mask without a picture\)\. clip",
    ):
        find_pictures("notes")


def test_system_files_are_passed_over_without_a_word(inputs):
    (inputs / "dog" / ".ipynb_checkpoints").mkdir()
    for name in ("._01.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (inputs / "dog" / name).write_bytes(b"what systems leave")
    images, _, report = load()
    assert len(images) == 1
    assert report == ["1 picture, 0 with a caption: 01.png."]


def test_masks_are_no_pictures(inputs):
    for name in ("01-masklabel.png", "01-condlabel.png", "carnival_mask.png"):
        Image.new("L", (8, 8), 255).save(inputs / "dog" / name)
    images, _, report = load()
    assert [colours(image) for image in images] == [[RED], [(255, 255, 255)]]
    assert report == [
        "2 pictures, 0 with a caption, 1 with a mask: 01.png, carnival_mask.png.",
        "01-condlabel.png: left out (conditioning image).",
    ]


def test_a_mask_whose_picture_is_gone(inputs):
    """Where masks are called so, one more that is called so is none of the pictures."""
    for name in ("01_mask.png", "02_mask.png"):
        Image.new("L", (8, 8), 255).save(inputs / "dog" / name)
    images, _, report = load()
    assert len(images) == 1
    assert report == ["1 picture, 0 with a caption, 1 with a mask: 01.png.", "02_mask.png: left out (mask without a picture)."]


def test_companions_are_found_however_their_letters_are_composed(inputs):
    """A Mac takes é apart, other systems do not."""
    Image.new("RGB", (8, 8), "red").save(inputs / "dog" / "caf\u00e9.png")
    (inputs / "dog" / "cafe\u0301.txt").write_text("a dog in a caf\u00e9", encoding="utf-8")
    Image.new("L", (8, 8), 255).save(inputs / "dog" / "cafe\u0301_mask.png")
    _, captions, report = load()
    assert captions == ["", "a dog in a caf\u00e9"]
    assert report[0].startswith("2 pictures, 1 with a caption, 1 with a mask")


def masks() -> list[torch.Tensor]:
    return LoadConceptImages.execute("dog").args[2]


def test_white_in_a_mask_file_is_the_concept(inputs):
    Image.new("RGB", (16, 8), "red").save(inputs / "dog" / "01.png")
    mask = Image.new("L", (32, 16))
    mask.paste(255, (0, 0, 16, 16))
    mask.save(inputs / "dog" / "01_mask.png")  # of another size
    (found,) = masks()
    assert found.shape == (1, 8, 16)
    assert float(found[0, :, :7].min()) == 1
    assert float(found[0, :, 9:].max()) == 0
    before = LoadConceptImages.fingerprint_inputs("dog")
    Image.new("L", (32, 16), 255).save(inputs / "dog" / "01_mask.png")
    assert LoadConceptImages.fingerprint_inputs("dog") != before


def test_labels_are_masks(inputs):
    """Of 0 and 1, as data sets of segmentations have them."""
    Image.new("RGB", (16, 8), "red").save(inputs / "dog" / "01.png")
    mask = Image.new("L", (16, 8))
    mask.paste(1, (0, 0, 8, 8))
    mask.save(inputs / "dog" / "01_mask.png")
    (found,) = masks()
    assert (float(found[0, :, :8].min()), float(found[0, :, 8:].max())) == (1, 0)


def test_what_is_opaque_is_the_concept(inputs):
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 4, 8))
    picture.save(inputs / "dog" / "01.png")
    (found,) = masks()
    assert torch.equal(found[0], torch.tensor([1.0] * 4 + [0.0] * 4).expand(8, 8))
    assert "with a mask" in load()[2][0]


def test_a_picture_without_a_mask_has_none(inputs):
    (found,) = masks()
    assert found.shape == (1, 64, 64)  # as core's Load Image gives it
    assert not found.any()


def test_masks_that_are_no_use(inputs):
    Image.new("L", (8, 8)).save(inputs / "dog" / "01-masklabel.png")
    assert not masks()[0].any()
    assert load()[2][1:] == ["01-masklabel.png: marks nothing, so all of the picture counts."]
    Image.new("L", (8, 20), 255).save(inputs / "dog" / "01-masklabel.png")
    assert load()[2][1:] == ["01-masklabel.png: left out (mask whose proportions differ from its picture's)."]
    (inputs / "dog" / "01-masklabel.png").write_bytes(b"no picture")
    assert "01-masklabel.png: left out (broken, or not a picture" in load()[2][1]


def test_all_else_is_named(inputs):
    (inputs / "dog" / "more").mkdir()
    for name in ("clip.mp4", "dgo.txt", *(f"{number}.npz" for number in range(12))):
        (inputs / "dog" / name).touch()
    assert load()[2][1:] == [
        "0.npz, 1.npz, 2.npz, 3.npz, 4.npz, 5.npz, 6.npz, 7.npz, 8.npz, 9.npz and 3 more: "
        "left out (neither picture nor caption).",
        "dgo.txt: left out (no picture of the same name).",
        "more: left out (folder).",
    ]


# ---- Pictures of every kind


def test_sixteen_bit_greys_keep_their_greys(empty):
    """65535 is white and 32896 = 128 · 257 the grey that 8 bits call 128."""
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(empty / "1.png")
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(empty / "2.tif")
    for image in load()[0]:
        assert colours(image) == [(0, 0, 0), (1, 1, 1), (128, 128, 128), (255, 255, 255)]


@pytest.mark.parametrize(
    "name", ["a.jfif", "a.JPG", "a.jpe", "a.tif", "a.tiff", "a.gif", "a.webp", "a.bmp", "a.avif", "a.apng"]
)
def test_every_format_that_pillow_reads(empty, name):
    if name.endswith("avif") and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    Image.new("RGB", (16, 16), RED).save(empty / name)
    images, _, report = load()
    assert images[0].shape == (1, 16, 16, 3)
    assert torch.allclose(images[0], torch.tensor([1.0, 0.0, 0.0]), atol=0.02)
    assert report == [f"1 picture, 0 with a caption: {name}."]


def test_a_format_that_pillow_lacks_is_left_out_with_a_word(inputs):
    # What begins an HEIC file; if a plugin for it is installed, it says that this is broken.
    (inputs / "dog" / "02.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    images, _, report = load()
    assert len(images) == 1
    assert report[1].startswith("02.heic: left out (")
    if ".heic" not in Image.registered_extensions():
        assert report[1] == "02.heic: left out (the installed Pillow cannot read .heic; save it as PNG or JPEG)."


def test_modes(empty):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(empty / "1.jpg", quality=100)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(empty / "2.tif")
    Image.new("RGB", (8, 8), RED).convert("P").save(empty / "3.png")
    Image.new("L", (8, 8), 128).save(empty / "4.png")
    Image.new("1", (8, 8), 1).save(empty / "5.png")
    Image.new("LA", (8, 8), (0, 0)).save(empty / "6.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(empty / "7.png")
    Image.new("P", (8, 8), 0).save(empty / "8.gif", transparency=0)
    white = (255, 255, 255)
    assert [colours(image) for image in load()[0]] == [
        *([RED], [RED], [RED], [(128, 128, 128)], [white], [white], [white], [white])  # on white where they are transparent
    ]


def test_a_grey_without_a_white_is_left_out(inputs):
    Image.fromarray(np.ones((8, 8), dtype=np.float32)).save(inputs / "dog" / "02.tif")
    assert load()[2][1] == "02.tif: left out (32-bit pixels without a known white; save it as PNG)."


def test_a_picture_taken_with_the_camera_on_its_side(empty):
    picture = Image.new("RGB", (16, 8), RED)
    picture.paste(BLUE, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter clockwise to look at it
    picture.save(empty / "1.png", exif=exif)
    (image,), _, _ = load()
    assert image.shape == (1, 16, 8, 3)
    assert [tuple((image[0, row, 4] * 255).tolist()) for row in (0, 15)] == [BLUE, RED]


def test_of_an_animation_the_first_frame(empty):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    for name in ("1.gif", "2.webp", "3.png", "4.tif"):
        frames[0].save(empty / name, save_all=True, append_images=frames[1:], **({"lossless": True} if "webp" in name else {}))
    images, _, report = load()
    assert [colours(image) for image in images] == [[RED]] * 4
    assert report[1] == "1.gif, 2.webp, 3.png, 4.tif: only the first frame is used."


def test_a_photograph_with_a_depth_map_is_no_animation(empty):
    Image.new("RGB", (8, 8), RED).save(
        empty / "1.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)]
    )
    assert load()[2] == ["1 picture, 0 with a caption: 1.jpg."]


def test_broken_files_are_left_out_and_named(inputs):
    Image.effect_noise((64, 64), 50).save(inputs / "dog" / "02.jpg")
    data = (inputs / "dog" / "02.jpg").read_bytes()
    (inputs / "dog" / "02.jpg").write_bytes(data[: len(data) // 2])
    (inputs / "dog" / "03.png").write_bytes((inputs / "dog" / "01.png").read_bytes()[:40])
    (inputs / "dog" / "04.png").touch()
    (inputs / "dog" / "05.webp").write_text("<html>404</html>")
    (inputs / "dog" / "06.png").mkdir()
    images, captions, report = load()
    assert len(images) == len(captions) == 1
    assert report[0] == "1 picture, 0 with a caption: 01.png."
    assert report[1].startswith("02.jpg: left out (cannot be read: image file is truncated")
    assert report[2:] == [
        "03.png, 05.webp: left out (broken, or not a picture; save it again as PNG or JPEG).",
        "04.png: left out (empty file).",
        "06.png: left out (folder).",
    ]


def test_a_folder_of_nothing_but_broken_files(empty):
    (empty / "1.png").touch()
    with pytest.raises(CNSError, match=r"No picture in .*dog could be read. 1\.png: left out \(empty file\)\."):
        load()


def test_a_link_that_leads_nowhere(inputs):
    try:
        (inputs / "dog" / "02.png").symlink_to("gone.png")
    except OSError:
        pytest.skip("this system lets no user make links")
    assert load()[2][1] == "02.png: left out (cannot be read: No such file or directory; save it again)."


# ---- Large pictures


def test_forty_eight_megapixels_are_scaled_down_as_they_are_read(empty):
    """8000 x 6000 pixels are 576 MB as IMAGE, 683 x 512 are 4.2 MB."""
    picture = Image.new("RGB", (8000, 6000), RED)
    picture.paste(BLUE, (0, 0, 4000, 6000))
    picture.save(empty / "1.jpg")
    picture.save(empty / "2.png", compress_level=1)
    images, _, report = load()
    for image in images:
        assert image.shape == (1, 512, 683, 3)
        assert torch.allclose(image[0, 256, 100], torch.tensor([0.0, 0.0, 1.0]), atol=0.02)
        assert torch.allclose(image[0, 256, 600], torch.tensor([1.0, 0.0, 0.0]), atol=0.02)
    assert report[1] == "1.jpg, 2.png: scaled down to 512 px on the shorter side."


@pytest.mark.parametrize(
    ("size", "resolution", "shape"),
    [
        ((200, 100), 64, (64, 128)),
        ((100, 300), 64, (192, 64)),
        ((64, 1000), 64, (1000, 64)),  # a strip has no pixels to spare
        ((20, 10), 64, (10, 20)),  # nothing is scaled up
    ],
)
def test_the_shorter_side_counts(empty, size, resolution, shape):
    Image.new("RGB", size).save(empty / "1.png")
    (image,), _, _ = load(resolution=resolution)
    assert image.shape == (1, *shape, 3)


def test_scaling_down_leaves_training_what_it_would_see_anyway(empty):
    """A fine pattern, scaled by us as it is read and by the training from the full picture."""
    from cns_pack.cns_core.comfy_adapter.checkpoint.latents import fit

    rows, columns = np.mgrid[0:600, 0:900]
    pattern = np.stack([127 + 100 * np.sin(rows / 9), 127 + 100 * np.cos(columns / 7), (rows + columns) / 6], axis=-1)
    Image.fromarray(pattern.astype(np.uint8)).save(empty / "1.png")
    (small,), (full,) = load(resolution=256)[0], load(resolution=2048)[0]
    assert full.shape == (1, 600, 900, 3)
    assert torch.allclose(fit(small[0], 256), fit(full[0], 256), atol=0.01)


def test_more_pixels_than_pillow_opens(inputs, monkeypatch):
    Image.new("1", (100, 30)).save(inputs / "dog" / "02.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert load()[2][1] == "02.png: left out (more pixels than Pillow opens; scale it down)."


# ---- Captions


def test_captions_beside_pictures(inputs):
    dog = inputs / "dog"
    for name in ("02.png", "03.png", "04.png", "05.png"):
        Image.new("RGB", (8, 8)).save(dog / name)
    (dog / "01.txt").write_text("a dog\n\n a small  dog\na dog, again\n", encoding="utf-8")
    (dog / "02.caption").write_text("ein Hund auf grünem Gras", encoding="utf-8-sig")
    (dog / "03.TXT").write_text("犬", encoding="utf-16")
    (dog / "04.txt").write_text(" \n", encoding="utf-8")
    (dog / "05.txt").write_text("this", encoding="utf-8")
    (dog / "05.caption").write_text("not this", encoding="utf-8")
    images, captions, report = load()
    assert len(images) == 5
    assert captions == ["a dog", "ein Hund auf grünem Gras", "犬", "", "this"]
    assert report == [
        "5 pictures, 4 with a caption: 01.png, 02.png, 03.png, 04.png, 05.png.",
        "01.txt: only the first of 3 captions (one per line) is used.",
        "05.caption: left out (05.txt takes precedence).",
    ]


def test_a_caption_that_cannot_be_read(inputs):
    (inputs / "dog" / "01.txt").write_bytes("ein Café".encode("latin-1"))
    with pytest.raises(CNSError, match=r"01\.txt cannot be read: save it as UTF-8"):
        load()


# ---- What counts as a change


def test_a_picture_replaced_with_its_size_and_time_kept_is_noticed(empty):
    path = empty / "1.bmp"
    Image.new("RGB", (8, 8), RED).save(path)
    before, status = LoadConceptImages.fingerprint_inputs("dog"), path.stat()
    Image.new("RGB", (8, 8), BLUE).save(empty.parent / "other.bmp")
    os.utime(empty.parent / "other.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(empty.parent / "other.bmp", path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert LoadConceptImages.fingerprint_inputs("dog") != before


def test_touching_and_copying_changes_nothing_and_everything_else_does(inputs):
    def now():
        return LoadConceptImages.fingerprint_inputs("dog")

    before = now()
    os.utime(inputs / "dog" / "01.png", (1, 1))
    assert now() == before
    for name in ("01.txt", "02.png", "01-masklabel.png"):
        (inputs / "dog" / name).write_text(name)
        assert now() != before
        before = now()
    (inputs / "dog" / "01.txt").write_text("a dog")
    assert now() != before
