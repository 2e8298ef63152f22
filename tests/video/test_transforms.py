"""Augmentation: the same for all frames, drawn from the generator alone, equal to Pillow's definitions, cut from the source."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from mien.video.clips import ClipConfig
from mien.video.colour import COLOUR, recolour
from mien.video.decode import FramesInMemory, Reader, open_video
from mien.video.geometry import GEOMETRY, multiscale_crop, resized_crop
from mien.video.transforms import AugmentConfig, Change, crops, draw_change, read_augmented, read_changed
from numbered_videos import tag_rotation

EVERYTHING = AugmentConfig(scales=(), flip=0.5, operations=6, jitter=0.4, erase=0.0)


def noise(count: int = 4, size: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def scene(height: int = 120, width: int = 200) -> np.ndarray:
    """A smooth picture with a mark, so that places can be told apart."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    picture = np.stack([60 + 150 * x, 40 + 180 * y, 128 + 90 * np.sin(5 * x + 3 * y)], axis=-1)
    image = Image.fromarray(picture.astype(np.uint8))
    ImageDraw.Draw(image).ellipse((width * 0.55, height * 0.2, width * 0.75, height * 0.5), fill=(230, 200, 40))
    return np.asarray(image)


def folder(path: Path, frames: np.ndarray) -> Reader:
    """The frames as a folder of images."""
    path.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"{i}.png")
    return open_video(path)


def changed(reader: Reader, config: AugmentConfig, size: int, seed: int, crop: str = "square") -> np.ndarray:
    canvas = ClipConfig(size=size, crop=crop).canvas(reader.height, reader.width)  # type: ignore[arg-type]
    return read_augmented(reader, range(len(reader)), canvas, config, size, np.random.default_rng(seed))


def test_nothing_changes_nothing(tmp_path: Path) -> None:
    clip = noise()
    np.testing.assert_array_equal(changed(folder(tmp_path, clip), AugmentConfig.none(), 40, 0), clip)


def test_same_draw_same_clip(tmp_path: Path) -> None:
    reader = folder(tmp_path, noise())
    one, two, other = (changed(reader, EVERYTHING, 32, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (4, 32, 32, 3)
    assert one.dtype == np.uint8
    assert (one != other).any()


def test_all_frames_change_alike(tmp_path: Path) -> None:
    reader = folder(tmp_path, np.repeat(noise(1), 3, axis=0))
    for seed in range(30):
        out = changed(reader, EVERYTHING, 32, seed)
        assert (out == out[0]).all()


def test_flip_mirrors(tmp_path: Path) -> None:
    config = AugmentConfig(scales=(), area=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0)
    clip = noise()
    np.testing.assert_array_equal(changed(folder(tmp_path, clip), config, 40, 0), clip[:, :, ::-1])


def test_erasing_takes_the_same_box_of_all_frames(tmp_path: Path) -> None:
    config = AugmentConfig(scales=(), area=(1.0, 1.0), ratio=(1.0, 1.0), erase=1.0)
    out = changed(folder(tmp_path, np.zeros((4, 40, 40, 3), np.uint8)), config, 40, 1)
    erased = np.asarray((out > 0).any(axis=-1))
    boxes = {tuple(np.argwhere(frame).min(0)) + tuple(np.argwhere(frame).max(0)) for frame in erased}
    assert len(boxes) == 1
    assert 0.01 < erased.mean() < 0.4
    assert abs(out[erased].mean() - 114.5) < 5  # normal noise about ImageNet's mean, which normalisation takes to 0
    assert abs(out[erased].std() - 57) < 6


# Colours, against Pillow


def pillow(image: Image.Image, name: str, strength: float) -> Image.Image:
    """A colour operation as timm's "increasing" RandAugment defines it."""
    if name in ("autocontrast", "equalize", "invert"):
        return getattr(ImageOps, name)(image)
    if name == "posterize":
        bits = 4 - int(abs(strength) * 4)
        return ImageOps.posterize(image, bits) if bits else Image.new("RGB", image.size)
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(abs(strength) * 256))
    if name == "solarize_add":
        return image.point([min(255, v + int(abs(strength) * 110)) if v < 128 else v for v in range(256)] * 3)
    enhance = {"colour": ImageEnhance.Color, "sharpness": ImageEnhance.Sharpness}
    enhance |= {"contrast": ImageEnhance.Contrast, "brightness": ImageEnhance.Brightness}
    return enhance[name](image).enhance(1 + 0.9 * strength)


@pytest.mark.parametrize("strength", [-1.0, -0.7, 0.0, 0.63, 1.0])
@pytest.mark.parametrize("name", COLOUR)
def test_each_colour_operation_is_pillows(name: str, strength: float) -> None:
    for picture in (scene(), noise(1)[0], (scene() // 3 + 40).astype(np.uint8), np.full((8, 8, 3), 77, np.uint8)):
        expected = np.asarray(pillow(Image.fromarray(picture), name, strength)).astype(int)
        error = np.abs(recolour(picture[None], [(name, strength)])[0] - expected)
        assert error.max() <= (2 if name in ("colour", "sharpness", "contrast") else 0)
        assert error.mean() < 0.8


def test_operations_act_on_what_those_before_them_made() -> None:
    """Brightness, then equalize: the whole range again, not a nearly black clip."""
    picture = scene()
    out = recolour(picture[None], [("brightness", -0.7), ("equalize", 1.0)])
    assert abs(float(out.mean()) - 128) < 8
    assert out.std() > 60


def test_chains_of_operations_are_pillows() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        chain = [(str(name), float(rng.choice([-1, 1]) * rng.uniform(0.5, 0.9))) for name in rng.choice(COLOUR, 4)]
        image = Image.fromarray(scene(60, 80))
        for name, strength in chain:
            image = pillow(image, name, strength)
        error = np.abs(recolour(scene(60, 80)[None], chain)[0].astype(int) - np.asarray(image))
        assert np.quantile(error, 0.9) <= 12, chain  # a value that is one off may be 16 off after posterize
        assert error.mean() < 5, chain


def test_frames_of_a_clip_share_their_counts() -> None:
    clip = np.stack([scene() // 2, scene() // 4]).astype(np.uint8)
    out = recolour(clip, [("autocontrast", 1.0)])
    assert out[0].mean() > 1.7 * out[1].mean()  # what was darker stays darker


# Geometry, against Pillow


def transformed(image: Image.Image, name: str, strength: float) -> Image.Image:
    """A geometric operation as timm's RandAugment defines it."""
    options = {"resample": Image.Resampling.BICUBIC, "fillcolor": (128, 128, 128)}
    if name == "rotate":
        return image.rotate(30 * strength, **options)
    shear, shift = 0.3 * strength, 0.45 * strength
    data = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "shift_x": (1, 0, shift * image.width, 0, 1, 0),
        "shift_y": (1, 0, 0, 0, 1, shift * image.height),
    }
    return image.transform(image.size, Image.Transform.AFFINE, data[name], **options)


def by_pillow(picture: np.ndarray, change: Change, size: int) -> np.ndarray:
    """Geometry and crop of one frame, step by step."""
    image = Image.fromarray(picture)
    for name, strength in change.geometry:
        image = transformed(image, name, strength)
    top, left, height, width = change.crop
    box = (left, top, left + width, top + height)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("strength", [-0.7, 0.7])
def test_each_geometric_operation_is_pillows(name: str, strength: float, tmp_path: Path) -> None:
    reader = folder(tmp_path, scene()[None])
    canvas = ClipConfig(size=64).canvas(120, 200)
    for crop in ((0.0, 0.0, 120.0, 200.0), (20.0, 60.0, 80.0, 96.0), (90.0, 150.0, 30.0, 50.0)):
        change = Change(crop, False, [(name, strength)], [])
        out, expected = read_changed(reader, [0], canvas, change, 64)[0], by_pillow(scene(), change, 64)
        error = np.abs(out.astype(int) - expected).mean(axis=-1)
        assert np.quantile(error, 0.95) < 8  # edges of the mark and of the frame are as soft as the filter
        assert error.mean() < 2


def test_geometry_and_crops_are_pillows_whatever_is_drawn(tmp_path: Path) -> None:
    reader = folder(tmp_path, scene()[None])
    canvas = ClipConfig(size=64).canvas(120, 200)
    config = AugmentConfig(scales=(), area=(0.2, 1.0), operations=6)
    for seed in range(40):
        change = draw_change(config, canvas, np.random.default_rng(seed))
        out, expected = read_changed(reader, [0], canvas, change, 64)[0], by_pillow(scene(), change, 64)
        shared = (out != 128).any(-1) & (expected != 128).any(-1)  # Pillow loses what one step moves out of the frame
        error = np.abs(out.astype(int) - expected).mean(axis=-1)[shared]
        assert error.size == 0 or np.median(error) < 3, change


# Crops of the source


def test_crops_are_as_sharp_as_the_source(tmp_path: Path) -> None:
    """A crop of half the side read at its own size is the source's own pixels, not pixels of a shrunk clip."""
    clip = noise(2, 80)
    config = AugmentConfig(scales=(), area=(0.25, 0.25), ratio=(1.0, 1.0))
    out = changed(folder(tmp_path, clip), config, 40, 0)
    places = [(y, x) for y in range(41) for x in range(41)]
    assert any((out == clip[:, y : y + 40, x : x + 40]).all() for y, x in places)


def test_training_sees_outside_the_centre_square(tmp_path: Path) -> None:
    wide = np.zeros((1, 40, 120, 3), np.uint8)
    wide[:, :, :20], wide[:, :, -20:] = 90, 180
    reader = folder(tmp_path, wide)
    config = AugmentConfig(scales=(), area=(0.05, 0.3))
    seen = {int(v) for seed in range(60) for v in np.unique(changed(reader, config, 16, seed))}
    assert {90, 180} <= seen
    seen = {
        int(v) for seed in range(60) for v in np.unique(changed(reader, AugmentConfig(scales=(1.0, 0.5)), 16, seed))
    }
    assert {90, 180} <= seen


def test_crop_kinds_keep_their_meaning(tmp_path: Path) -> None:
    wide = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None, None, :, None], 3, axis=3).repeat(112, axis=1)
    reader = folder(tmp_path / "wide", wide)  # 112 x 120, its columns 0, 2, 4 ...
    squashed = changed(reader, AugmentConfig.none(), 60, 0, "squash")
    assert squashed.min() <= 2
    assert squashed.max() >= 236
    kept = changed(reader, AugmentConfig.none(), 80, 0, "voxceleb2")
    np.testing.assert_array_equal(kept[0, 0, :, 0], np.arange(40, 200, 2))
    for seed in range(20):  # nothing outside the preset's place is ever seen
        out = changed(reader, AugmentConfig(scales=(), area=(0.3, 1.0), operations=4), 40, seed, "voxceleb2")
        assert out.shape == (1, 40, 40, 3)
        plain = changed(reader, AugmentConfig(), 40, seed, "voxceleb2")
        assert plain.min() >= 40
        assert plain.max() < 200


def phone(path: Path, size: tuple[int, int] = (64, 96)) -> Path:
    """A film of one scene, tagged as turned by 90 degrees; ``size`` is the stored height and width."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(*size), format="rgb24")))
        container.mux(stream.encode())
    tag_rotation(path)
    return path


def test_regions_of_turned_videos_and_of_held_ones(tmp_path: Path) -> None:
    with open_video(phone(tmp_path / "phone.mp4")) as video:
        assert (video.height, video.width) == (96, 64)
        whole, held = video.read([0, 2]), FramesInMemory(video, [0, 2])
        for region in ((0, 0, 96, 64), (10, 20, 40, 24), (56, 0, 40, 64), (0, 40, 96, 24)):
            top, left, height, width = region
            part = video.read([0, 2], region=region)
            assert part.shape == (2, height, width, 3)
            expected = whole[:, top : top + height, left : left + width].astype(int)
            assert np.abs(part - expected).max() <= 24  # chroma at the seam
            assert np.abs(part - expected).mean() < 1
            small = video.read([0, 2], (20, 12), region)
            np.testing.assert_array_equal(held.read([0, 1], (20, 12), region), small)


def test_random_resized_crops_fit_and_keep_their_shape() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([resized_crop(90, 160, (0.08, 1.0), (0.75, 1.3333), rng) for _ in range(2000)])
    top, left, height, width = boxes.T
    assert ((top >= 0) & (left >= 0) & (top + height <= 90) & (left + width <= 160)).all()
    assert (width / height).min() >= 0.7499
    assert (width / height).max() <= 1.3334
    assert resized_crop(90, 160, (1.0, 1.0), (1.0, 1.0), rng) == (0.0, 35.0, 90.0, 90.0)  # the centre where none fits


def test_multiscale_crops_are_equally_probable() -> None:
    """10 pairs of sides and 13 places, as in the released code."""
    rng = np.random.default_rng(0)
    boxes = [multiscale_crop(100, 100, (1.0, 0.875, 0.75, 0.66), rng) for _ in range(20000)]
    sides, counts = np.unique(np.round([b[2:] for b in boxes], 3), axis=0, return_counts=True)
    assert len(sides) == 10
    assert np.abs(counts / 20000 - 0.1).max() < 0.01
    small = [b[:2] for b in boxes if b[2:] == (75.0, 75.0)]
    places, counts = np.unique(np.round(small, 3), axis=0, return_counts=True)
    assert len(places) == 13
    assert np.abs(counts / len(small) - 1 / 13).max() < 0.03


def test_crops_cover_the_longer_side_once() -> None:
    wide = np.zeros((2, 32, 64, 3), np.uint8)
    wide[:, :, :, 0] = np.arange(64)
    assert [int(c[0, 0, 0, 0]) for c in crops(wide, 32, 3)] == [0, 16, 32]
    assert [int(c[0, 0, 0, 0]) for c in crops(wide, 32, 1)] == [16]
    assert len(crops(noise(size=32), 32, 3)) == 1


def reference(picture: np.ndarray, change: Change, size: int) -> np.ndarray:
    """One frame under a change, every step by Pillow."""
    image = Image.fromarray(by_pillow(picture, change, size))
    image = ImageOps.mirror(image) if change.flip else image
    for name, strength in change.colour:
        image = pillow(image, name, strength)
    return np.asarray(image)


def test_64_augmentations_are_the_references(tmp_path: Path) -> None:
    """Fine-tuning's augmentation beside Pillow's; both side by side, 64 times, in sheet.png."""
    reader = folder(tmp_path / "clip", scene(100, 130)[None])
    canvas, config = ClipConfig(size=48).canvas(100, 130), AugmentConfig.finetune()
    pairs, errors = [], []
    for seed in range(64):
        change = draw_change(config, canvas, np.random.default_rng(seed))
        frames = read_changed(reader, [0], canvas, change, 48)
        out = recolour(frames[:, :, ::-1] if change.flip else frames, change.colour)[0]
        expected = reference(scene(100, 130), change, 48)
        pairs.append(np.pad(np.concatenate([out, expected], axis=1), ((0, 4), (0, 8), (0, 0)), constant_values=255))
        errors.append(float(np.median(np.abs(out.astype(int) - expected))))
    rows = [np.concatenate(pairs[i : i + 8], axis=1) for i in range(0, 64, 8)]
    Image.fromarray(np.concatenate(rows)).save(tmp_path / "sheet.png")
    assert np.mean(errors) < 2
    assert np.quantile(errors, 0.9) < 4


def test_held_frames_do_not_hold_their_decoder(tmp_path: Path) -> None:
    with open_video(phone(tmp_path / "phone.mp4")) as video:
        held, decoder = FramesInMemory(video, [0]), weakref.ref(video)
    del video
    gc.collect()
    assert decoder() is None
    assert held.read([0]).shape == (1, 96, 64, 3)
