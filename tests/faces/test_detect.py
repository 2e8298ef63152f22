"""Detectors: which one is chosen and said, what each gives, and that wrong files are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mien import downloads
from mien.config import build
from mien.faces.detectors import DETECTORS, DetectConfig, Detection, Detector
from mien.faces.detectors.haar import HAAR_NOTICE, Haar
from mien.faces.detectors.yunet import YuNet
from mien.faces.quality import face_sharpness, pose

STILLS = {"stills/pyfeat_multi_face.jpg": 5, "stills/deepface_couple.jpg": 2, "stills/fr_obama.jpg": 1}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without model files; returns its (empty) MIEN_MODELS folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("MIEN_MODELS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def model(media: Path) -> Path:
    """The published YuNet file."""
    return media.parent / "models" / YuNet.file


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_without_a_file_haar_is_used_and_said_once(bare: Path) -> None:
    code = (
        "from mien.faces.detectors import DetectConfig\n"
        "for _ in range(3): print(DetectConfig().build().name)\n"
        "print(DetectConfig(name='haar').build().name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["haar"] * 4
    assert done.stderr.strip() == HAAR_NOTICE
    assert "mien models get yunet" in HAAR_NOTICE


def test_every_detector_can_be_named_and_is_known_by_its_files(bare: Path) -> None:
    for kind in DETECTORS:
        assert DetectConfig(name=kind.name).kind() is kind
        for sign in kind.signs:
            assert DetectConfig(model=bare / f"my_{sign.upper()}").kind() is kind
        assert bool(kind.signs) == kind.needs_file


@pytest.mark.media
def test_the_file_is_taken_from_the_option_then_the_folder_then_the_cache(bare: Path, model: Path) -> None:
    cached = downloads.cache() / model.name
    cached.parent.mkdir(parents=True)
    cached.symlink_to(model)
    assert DetectConfig().resolved().model == cached
    (bare / model.name).symlink_to(model)
    assert DetectConfig().resolved().model == bare / model.name
    named = DetectConfig(model=model).resolved()
    assert (named.name, named.model) == ("yunet", model)
    assert isinstance(DetectConfig().build(), YuNet)
    assert isinstance(DetectConfig(name="haar").build(), Haar)


def test_wrong_files_are_named(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.onnx: no such model file"):
        DetectConfig(model=tmp_path / "nowhere.onnx").build()
    page = tmp_path / "yunet.onnx"
    page.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"yunet\.onnx: not a YuNet model"):
        DetectConfig(model=page).build().detect(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r"its name does not tell the detector; add --detector\.name"):
        DetectConfig(model=page.rename(tmp_path / "faces.onnx")).build()
    with pytest.raises(ValueError, match="scrfd needs its model file"):
        DetectConfig(name="scrfd").build()
    with pytest.raises(ValueError, match="mien models get yunet"):
        DetectConfig(name="yunet").build()


def test_a_config_of_yaml_is_strict() -> None:
    assert build(DetectConfig, {"name": "haar", "size": "480"}).size == 480
    with pytest.raises(ValueError, match="scor"):
        build(DetectConfig, {"scor": 0.5})


@pytest.mark.media
@pytest.mark.parametrize("name", STILLS)
def test_yunet_finds_the_faces_of_stills_with_landmarks_in_order(media: Path, model: Path, name: str) -> None:
    found = DetectConfig(model=model).build().detect(picture(media / name))
    faces = [face for face in found if face.score >= 0.6]
    assert len(faces) == STILLS[name]
    for face in faces:
        x, y, width, height = face.box
        assert face.landmarks is not None
        right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
        assert right_eye[0] < left_eye[0]
        assert right_mouth[0] < left_mouth[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
        assert x < nose[0] < x + width
        assert y < nose[1] < y + height


@pytest.mark.media
def test_haar_finds_the_same_place_as_yunet(media: Path, model: Path) -> None:
    pixels = picture(media / "stills/fr_obama.jpg")
    best, other = (c.build().detect(pixels)[0].box for c in (DetectConfig(model=model), DetectConfig(name="haar")))
    assert np.allclose(best, other, atol=0.15 * best[2])


@pytest.mark.media
def test_pose_has_the_signs_that_are_written(media: Path, model: Path) -> None:
    detector = DetectConfig(model=model).build()
    pixels = picture(media / "stills/fr_obama.jpg")

    def of(image: np.ndarray) -> tuple[float, float, float]:
        angles = pose(detector.detect(np.ascontiguousarray(image))[0].landmarks)
        assert angles is not None
        return angles

    height, width = pixels.shape[:2]
    turned = cv2.warpAffine(pixels, cv2.getRotationMatrix2D((width / 2, height / 2), -15, 1), (width, height))
    yaw, pitch, roll = of(pixels)
    assert of(turned)[2] - roll == pytest.approx(15, abs=4)  # a negative angle turns OpenCV's pictures clockwise
    assert of(pixels[:, ::-1])[0] == pytest.approx(-yaw, abs=6)
    assert of(pixels[:, ::-1])[2] == pytest.approx(-roll, abs=6)
    assert abs(pitch) < 20
    assert pose(None) is None


def test_pose_of_a_turned_head_is_recovered() -> None:
    from mien.faces.quality import HEAD

    for yaw, pitch, roll in [(0, 0, 0), (25, 0, 0), (-30, 10, 0), (10, -20, 15), (0, 15, -25)]:
        a, b, c = np.radians([yaw, pitch, roll])
        # Axes: x right, y down, z to the viewer. Yaw takes the nose right, pitch takes it up, roll turns clockwise.
        turn_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        turn_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        image = (HEAD @ (turn_z @ turn_x @ turn_y).T)[:, :2] * 1.7 + 200
        found = pose(image.astype(np.float32))
        assert found is not None
        assert found == pytest.approx((yaw, pitch, roll), abs=8)


@pytest.mark.media
def test_sharpness_falls_with_blur_and_not_with_size(media: Path, model: Path) -> None:
    pixels = picture(media / "stills/fr_obama.jpg")
    box = DetectConfig(model=model).build().detect(pixels)[0].box
    sharp = face_sharpness(pixels, box)
    assert face_sharpness(cv2.GaussianBlur(pixels, (0, 0), 12).astype(np.uint8), box) < 0.2 * sharp
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
    assert face_sharpness(half, (box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2)) == pytest.approx(sharp, rel=0.35)
    assert face_sharpness(pixels, (-500.0, -500.0, 100.0, 100.0)) == 0


def toy_scrfd(path: Path, landmarks: bool) -> None:
    """A network with SCRFD's outputs that sees bright cells of 32 pixels as faces of 64 to their lower right."""
    onnx: Any = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    nodes, outputs, constants = [], [], []

    def constant(name: str, values: list[float], kind: Any = floats) -> str:
        constants.append(helper.make_tensor(name, kind, [len(values)], values))
        return name

    shape = constant("column", [-1, 1], onnx.TensorProto.INT64)
    nodes.append(helper.make_node("ReduceMean", ["input", constant("axis", [1], onnx.TensorProto.INT64)], ["gray"]))
    for stride in (8, 16, 32):
        gain = constant(f"gain{stride}", [40.0 if stride == 32 else 0.0])
        bias = constant(f"bias{stride}", [-20.0])
        pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes += [
            helper.make_node("AveragePool", ["gray"], [f"pool{stride}"], **pool),
            helper.make_node("Reshape", [f"pool{stride}", shape], [f"flat{stride}"]),
            helper.make_node("Mul", [f"flat{stride}", gain], [f"steep{stride}"]),
            helper.make_node("Add", [f"steep{stride}", bias], [f"logit{stride}"]),
            helper.make_node("Sigmoid", [f"logit{stride}"], [f"score{stride}"]),
            helper.make_node("Mul", [f"flat{stride}", constant(f"nil{stride}", [0.0])], [f"zero{stride}"]),
            helper.make_node(
                "Add", [f"zero{stride}", constant(f"far{stride}", [0.0, 0.0, 2.0, 2.0])], [f"box{stride}"]
            ),
            helper.make_node(
                "Add",
                [f"zero{stride}", constant(f"at{stride}", [0.5, 0.5, 1.5, 0.5, 1.0, 1.0, 0.6, 1.5, 1.4, 1.5])],
                [f"mark{stride}"],
            ),
        ]
    for kind, width in [("score", 1), ("box", 4), *([("mark", 10)] if landmarks else [])]:
        outputs += [helper.make_tensor_value_info(f"{kind}{s}", floats, [None, width]) for s in (8, 16, 32)]
    inputs = [helper.make_tensor_value_info("input", floats, [1, 3, None, None])]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


@pytest.mark.parametrize("landmarks", [True, False])
def test_scrfd_files_are_read_by_their_layout(tmp_path: Path, landmarks: bool) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "scrfd_toy.onnx"
    toy_scrfd(path, landmarks)
    pixels = np.zeros((200, 310, 3), np.uint8)  # no multiple of 32: filled up
    pixels[64:96, 128:160] = 255
    (face,) = [f for f in DetectConfig(model=path).build().detect(pixels) if f.score > 0.6]
    assert face.box == pytest.approx((128, 64, 64, 64), abs=0.5)
    assert (face.landmarks is not None) == landmarks
    if face.landmarks is not None:
        assert face.landmarks[0] == pytest.approx((144, 80), abs=0.5)
        assert face.landmarks[4] == pytest.approx((128 + 1.4 * 32, 64 + 1.5 * 32), abs=0.5)


def test_retinaface_files_are_read_by_their_layout(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    size, priors = 320, (40 * 40 + 20 * 20 + 10 * 10) * 2
    cell = 2 * (40 * 40 + 5 * 20 + 7) + 1  # stride 16, row 5, column 7, the larger prior of 128 pixels
    values = {
        "boxes": np.zeros((1, priors, 4)),
        "classes": np.zeros((1, priors, 2)),
        "points": np.zeros((1, priors, 10)),
    }
    values["boxes"][0, cell] = [0.5, 0, 0, np.log(1.5) / 0.2]  # 0.1 x 128 x 0.5 to the right, 1.5 times as tall
    values["classes"][0, cell, 1] = 0.9
    values["points"][0, cell, 4:6] = [1, 2]
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    constants = [helper.make_tensor(f"c_{k}", floats, v.shape, v.ravel().tolist()) for k, v in values.items()]
    constants.append(helper.make_tensor("nil", floats, [1], [0.0]))
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nil"], ["zero"]),
        *(helper.make_node("Add", [f"c_{k}", "zero"], [k]) for k in values),
    ]
    outputs = [helper.make_tensor_value_info(k, floats, list(v.shape)) for k, v in values.items()]
    graph = helper.make_graph(
        nodes, "toy", [helper.make_tensor_value_info("input", floats, [1, 3, size, size])], outputs, constants
    )
    path = tmp_path / "retinaface_toy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    (face,) = [f for f in DetectConfig(model=path).build().detect(np.zeros((320, 320, 3), np.uint8)) if f.score > 0.6]
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx((120 + 6.4 - 64, 88 - 96, 128, 192), abs=0.1)
    assert face.landmarks is not None
    assert face.landmarks[2] == pytest.approx((120 + 12.8, 88 + 25.6), abs=0.1)


def test_files_of_another_family_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "scrfd_toy.onnx"
    toy_scrfd(path, True)
    with pytest.raises(ValueError, match="9 outputs; RetinaFace has 3"):
        DetectConfig(name="retinaface", model=path).build()
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"scrfd_toy\.onnx: not an ONNX model"):
        DetectConfig(model=path).build()


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    for file, extra in [("scrfd.onnx", "onnx"), ("blaze_face_short_range.tflite", "mediapipe")]:
        (tmp_path / file).write_bytes(b"")
        with pytest.raises(ValueError, match=rf"pip install -c constraints.txt '\.\[{extra}\]'"):
            DetectConfig(model=tmp_path / file).build()


class Astray(Detector):
    """Sees rubbish, as networks do in strips of a few rows."""

    name, size, search_size, strong, weak, confirm, smallest = "haar", 320, 640, 0.6, 0.3, 1, 20
    searched: tuple[int, ...] = ()

    def __init__(self) -> None:
        pass

    def search(self, picture: np.ndarray) -> list[Detection]:
        self.searched = picture.shape
        boxes = [
            (4e28, -7e29, 0.0, 0.0),
            (1.0, float("nan"), 5.0, 5.0),
            (900.0, 1.0, 20.0, 20.0),
            (-5.0, 1.0, 20.0, 20.0),
        ]
        return [Detection(box, 0.9, None) for box in boxes]


@pytest.mark.parametrize("shape", [(64, 8192, 3), (8192, 64, 3)])
def test_a_strip_is_searched_with_a_border_and_rubbish_is_no_face(shape: tuple[int, int, int]) -> None:
    detector = Astray()
    found = detector.detect(np.zeros(shape, np.uint8))
    assert min(detector.searched[:2]) >= 32
    assert [face.box[0] < 0 for face in found] == [True]  # the one that reaches into the picture
