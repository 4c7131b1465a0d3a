"""The C++ example: built by CMake, it gives Python's scores, verdicts and refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from command import ROOT
from PIL import Image
from textures import plate
from tiny_model import FAULTS, HEIGHT, WIDTH, faulty_network, tiny_info, tiny_network

from blemish.calibration import compact
from blemish.exporting import export_model
from blemish.fitting import FitReport
from blemish.graph import GraphBuilder
from blemish.images import Area
from blemish.models import CalibrationInfo, InputInfo, OutputInfo, pack_patches, save_model
from blemish.models.calibration_info import SessionsInfo
from blemish.models.info import AreaInfo, TilesInfo
from blemish.pipeline import Result, open_model

if find_spec("openvino") is None or shutil.which("cmake") is None:
    pytest.skip('needs pip install "blemish[openvino]" and CMake', allow_module_level=True)

ORIENTATION = 0x0112
UNCALIBRATED = "blemish_predict: the model is not calibrated: its threshold stands for no false-alarm rate.\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from openvino.utils import get_cmake_path

    build = tmp_path_factory.mktemp("cpp")
    for command in (
        ["cmake", "-S", ROOT / "examples" / "cpp", "-B", build, f"-DCMAKE_PREFIX_PATH={get_cmake_path()}"],
        ["cmake", "--build", build],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in (done.stdout + done.stderr).lower()
    return build / "blemish_predict"


def run(program: Path, *arguments: object) -> tuple[int, str, str]:
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def judged(program: Path, model: Path, paths: list[Path], *options: object) -> list[dict[str, object]]:
    code, out, err = run(program, "--json", *options, model, *paths)
    assert (code, err.replace(UNCALIBRATED, "")) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def checksum_network() -> bytes:
    """The score is a whole number that every grey level of every pixel changes: exact in float32."""
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", HEIGHT, WIDTH, 3])
    weights = np.random.default_rng(0).integers(1, 64, (HEIGHT, WIDTH, 3)).astype(np.float32)
    weighted = graph.node("Mul", graph.node("Cast", image, to=onnx.TensorProto.FLOAT), graph.constant(weights))
    anomaly_map = graph.node("ReduceSum", weighted, graph.constant(np.array([2, 3])), keepdims=0)  # [N, h]
    whole = graph.node("ReduceSum", anomaly_map, graph.constant(np.array([1])), keepdims=1)  # [N, 1]
    graph.output(graph.node("Unsqueeze", whole, graph.constant(np.array([2]))), "anomaly_map", np.float32, ["N", 1, 1])
    graph.output(graph.node("Squeeze", whole, graph.constant(np.array([1]))), "score", np.float32, ["N"])
    return graph.model("checksum").SerializeToString()


def rising_network() -> bytes:
    """The map grows towards the bottom right, so what is mirrored beside an image would decide if it counted."""
    graph = GraphBuilder()
    image = graph.input("image", np.uint8, ["N", HEIGHT, WIDTH, 3])
    grey = graph.node("ReduceMean", graph.node("Cast", image, to=onnx.TensorProto.FLOAT), axes=[3], keepdims=0)
    rise = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.float32) * 100
    cells = graph.node("AveragePool", graph.node("Add", grey, graph.constant(rise)), kernel_shape=[3], strides=[3])
    graph.output(cells, "anomaly_map", np.float32, ["N", HEIGHT, WIDTH // 3])
    graph.output(graph.node("ReduceMax", cells, axes=[1, 2], keepdims=0), "score", np.float32, ["N"])
    return graph.model("rising").SerializeToString()


@pytest.fixture(scope="module")
def checksum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    info = tiny_info(output=OutputInfo(map_height=1, map_width=1))
    patches = pack_patches([])  # the newest format
    return save_model(tmp_path_factory.mktemp("checksum") / "model", checksum_network(), info, patches)


def picture(width: int, height: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Colours (height, width, 3) with soft and hard edges."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), 1.5)
    return np.asarray(np.where(rng.random((height, width, 1)) < 0.1, 255 - noise, noise), np.uint8)


def write_kinds(folder: Path) -> list[Path]:
    """One file of every kind that both programs read."""
    rgb = Image.fromarray(picture(61, 43))
    alpha = rgb.copy()
    alpha.putalpha(rgb.convert("L"))
    images = {
        "rgb.png": rgb,
        "grey.png": rgb.convert("L"),
        "grey_alpha.png": rgb.convert("LA"),
        "alpha.png": alpha,
        "palette.png": rgb.quantize(64),
        "few_colours.png": rgb.quantize(7),
        "two_levels.png": rgb.convert("1"),
        "rgb.jpg": rgb,
        "grey.jpg": rgb.convert("L"),
    }
    for name, image in images.items():
        image.save(folder / name)
    rgb.quantize(64).save(folder / "transparent_palette.png", transparency=3)
    rgb.save(folder / "transparent_colour.png", transparency=rgb.getpixel((5, 5)))
    rgb.save(folder / "progressive.jpg", progressive=True, quality=95)
    for subsampling in (0, 1, 2):
        rgb.save(folder / f"subsampling_{subsampling}.jpg", subsampling=subsampling)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        for suffix in ("jpg", "png"):
            rgb.save(folder / f"turned_{orientation}.{suffix}", exif=exif.tobytes())
    deep = np.random.default_rng(1).integers(0, 65536, (43, 61, 4), np.uint16)
    cv2.imwrite(str(folder / "deep.png"), deep[..., :3])
    cv2.imwrite(str(folder / "deep_grey.png"), deep[..., 0])
    cv2.imwrite(str(folder / "deep_alpha.png"), deep)
    return sorted(folder.iterdir())


def write_sizes(folder: Path) -> list[Path]:
    """Images that are shrunk, also by whole numbers, enlarged, both at once, and letterboxed either way."""
    sizes = [(16, 8), (32, 16), (48, 24), (64, 16), (33, 17), (5, 3), (1, 1), (8, 64), (200, 5), (7, 7), (400, 301)]
    sizes += [(15, 8), (16, 9), (1, 40), (90, 2), (161, 80), (37, 20), (1000, 8)]
    for number, (width, height) in enumerate(sizes):
        cv2.imwrite(str(folder / f"{width}x{height}.png"), picture(width, height, number))
    return sorted(folder.iterdir())


def same(found: Mapping[str, object], expected: Result, tolerance: float = 0) -> None:
    """`tolerance` is that of p-values, absolute, where another engine makes slightly other scores."""
    if expected.p_value is None or tolerance == 0:
        assert found["p_value"] == expected.p_value
    else:
        assert found["p_value"] == pytest.approx(expected.p_value, abs=tolerance)
    keys = ("input_path", "threshold", "is_anomalous", "label", "false_alarm_rate", "model_name")
    assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}
    assert expected.size is not None and found["size"] == list(expected.size)


@pytest.mark.parametrize("write", [write_kinds, write_sizes])
def test_every_pixel_that_reaches_the_network_is_pythons(
    write: Callable[[Path], list[Path]], program: Path, checksum: Path, tmp_path: Path
) -> None:
    paths = write(tmp_path)
    expected = list(open_model(checksum, "cpu").predict(list(map(str, paths))))
    assert len({result.score for result in expected}) > len(paths) / 2
    for found, result in zip(judged(program, checksum, paths), expected, strict=True):
        assert found["score"] == result.score, result.input_path
        same(found, result)


@pytest.mark.parametrize("bit_depth", [10, 12, "800-1200", "0-1000"])
def test_16_bit_samples_are_scaled(bit_depth: int | str, program: Path, tmp_path: Path) -> None:
    info = tiny_info(
        format_version=5,
        input=InputInfo(width=WIDTH, height=HEIGHT, aspect=2.0, bit_depth=bit_depth),
        output=OutputInfo(map_height=1, map_width=1),
    )
    model = save_model(tmp_path / "model", checksum_network(), info)
    path = tmp_path / "deep.png"
    cv2.imwrite(
        str(path),
        np.random.default_rng(0).integers(0, 4096 if bit_depth == 12 else 1400, (HEIGHT, WIDTH, 3), np.uint16),
    )
    assert judged(program, model, [path])[0]["score"] == next(iter(open_model(model).predict(str(path)))).score


def test_what_is_mirrored_does_not_count(program: Path, tmp_path: Path) -> None:
    info = tiny_info(output=OutputInfo(map_height=HEIGHT, map_width=WIDTH // 3))
    model = save_model(tmp_path / "model", rising_network(), info)
    (tmp_path / "images").mkdir()
    paths = write_sizes(tmp_path / "images")
    scores = [result.score or 0 for result in open_model(model).predict(list(map(str, paths)))]
    assert max(scores) > 1.5 * min(scores) > 0
    for found, score in zip(judged(program, model, paths), scores, strict=True):
        assert found["score"] == pytest.approx(score, rel=1e-6)


@pytest.mark.parametrize("kind", ["the model folder", "OpenVINO's format"])
def test_scores_of_a_detector_are_pythons(kind: str, program: Path, usual: FitReport, tmp_path: Path) -> None:
    model = usual.output if kind == "the model folder" else export_model(usual.output, "openvino", tmp_path / "export")
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(3):
        cv2.imwrite(str(images / f"plate_{seed}.png"), plate(100 + seed)[..., ::-1])
    write_kinds(images)
    cv2.imwrite(str(images / "wide.png"), picture(400, 90))
    cv2.imwrite(str(images / "tall.jpg"), picture(90, 400))
    cv2.imwrite(str(images / "tiny.png"), picture(9, 9))
    paths = sorted(images.iterdir())
    expected = list(open_model(usual.output, "cpu").predict(list(map(str, paths))))
    found = judged(program, model, paths)
    for one, result in zip(found, expected, strict=True):
        same(one, result, tolerance=1e-3)
        assert one["score"] == pytest.approx(result.score, rel=1e-4), result.input_path
    assert {one["label"] for one in found} == {"Normal", "Anomaly"}
    code, out, err = run(program, model, *paths)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{one['input_path']}  {one['label']} - score:  {one['score']:.3f}" for one in found]


def test_threshold_and_p_value_are_pythons(program: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for level in range(0, 256, 17):
        cv2.imwrite(str(folder / f"{level:03}.png"), np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    paths = sorted(folder.iterdir())
    drawn = ((1, 1, False), (2, 1, False), (2, 1, True), (12, 1, False), (60, 1, False), (60, 3, False), (60, 3, True))
    for count, sessions, interpolated in drawn:
        scores = rng.integers(0, 16, count) * 17.0  # ties, with one another and with the images
        if interpolated:
            scores += rng.integers(-60, 60, count) / 5  # few ties
        calibration = CalibrationInfo(
            scores=scores.tolist(),
            peaks=scores.tolist(),
            parts=[0, *rng.integers(0, max(2, count // 3), count - 1).tolist()],
            false_alarm_rate=0.25,
            kind="drawn",
            sessions=None
            if sessions == 1
            else SessionsInfo(
                numbers=[i % sessions for i in range(count)], names=[f"day {i}" for i in range(sessions)], learned=1
            ),
            interpolated=interpolated,
        )
        if interpolated and sessions > 1:  # as of very many images, in few entries
            calibration = CalibrationInfo(**compact(calibration.loaded(), 30).to_json())
            assert calibration.counted is not None
        info = tiny_info(calibration=calibration, format_version=calibration.least_version)
        model = save_model(tmp_path / "model", tiny_network(), info)
        known = calibration.part_count > 1
        for rate in (None, 0.01, 1 / 3, 0.9) if known else (None,):
            options = [] if rate is None else ["--false_alarm_rate", repr(rate)]
            expected = open_model(model, "cpu", false_alarm_rate=rate).predict(list(map(str, paths)))
            for found, result in zip(judged(program, model, paths, *options), expected, strict=True):
                same(found, result)


def test_one_part_gives_a_guess_and_no_rate(program: Path, tmp_path: Path) -> None:
    calibration = CalibrationInfo(
        scores=[90.0, 100.0], peaks=[90.0, 100.0], parts=[4, 4], false_alarm_rate=0.01, kind="one part"
    )
    model = save_model(tmp_path / "model", tiny_network(), tiny_info(calibration=calibration))
    cv2.imwrite(str(tmp_path / "101.png"), np.full((HEIGHT, WIDTH, 3), 101, np.uint8))
    (found,) = judged(program, model, [tmp_path / "101.png"])
    assert (found["p_value"], found["false_alarm_rate"], found["label"]) == (None, None, "Anomaly")
    code, _, err = run(program, model, tmp_path / "101.png")
    assert (code, err) == (0, UNCALIBRATED)
    code, _, err = run(program, "--false_alarm_rate", 0.1, model, tmp_path / "101.png")
    assert code == 2 and "not calibrated" in err


def test_what_is_no_number_is_no_verdict(program: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", faulty_network(), tiny_info())
    for level in (50, *FAULTS):
        cv2.imwrite(str(tmp_path / f"{level}.png"), np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    code, out, err = run(program, model, *(tmp_path / f"{level}.png" for level in (*FAULTS, 50)))
    assert code == 1 and [line.split("  ")[0] for line in out.splitlines()] == [str(tmp_path / "50.png")]
    lines = err.splitlines()
    assert len(lines) == len(FAULTS) + 1 and all("not finite" in line for line in lines[:-1])


def test_a_fixed_threshold_decides_where_nothing_was_calibrated(program: Path, tmp_path: Path) -> None:
    calibration = CalibrationInfo(
        scores=[], peaks=[], parts=[], false_alarm_rate=0.01, kind="imported", fixed_threshold=100.0
    )
    model = save_model(tmp_path / "model", tiny_network(), tiny_info(calibration=calibration))
    paths = [tmp_path / "100.png", tmp_path / "101.png"]
    for level, path in zip((100, 101), paths, strict=True):
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    found = judged(program, model, paths)
    for one, result in zip(found, open_model(model, "cpu").predict(list(map(str, paths))), strict=True):
        same(one, result)
    assert [one["label"] for one in found] == ["Normal", "Anomaly"]
    code, _, err = run(program, "--false_alarm_rate", 0.1, model, *paths)
    assert code == 2 and "not calibrated" in err


def test_bad_images_are_named_and_stop_no_others(program: Path, checksum: Path, tmp_path: Path) -> None:
    good, cut_png, cut_jpg = tmp_path / "good.png", tmp_path / "cut.png", tmp_path / "cut.jpg"
    Image.fromarray(picture(60, 40)).save(good)
    cut_png.write_bytes(good.read_bytes()[:-12])
    Image.fromarray(picture(60, 40)).save(cut_jpg)
    cut_jpg.write_bytes(cut_jpg.read_bytes()[:-2])
    damaged = bytearray(good.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(damaged)
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    Image.fromarray(picture(60, 40)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    large = bytearray(good.read_bytes())
    large[16:24] = (50_000).to_bytes(4, "big") * 2
    large[29:33] = zlib.crc32(large[12:29]).to_bytes(4, "big")
    (tmp_path / "large.png").write_bytes(large)
    reasons = {
        "cut.png": "cut short",
        "cut.jpg": "cut short",
        "damaged.png": "damaged PNG",
        "text.png": "neither a PNG nor a JPEG",
        "empty.jpg": "neither a PNG nor a JPEG",
        "cmyk.jpg": "CMYK",
        "large.png": "limit of 178956970",
        "absent.png": "cannot be opened",
        "": "is a folder",
        "two\nlines.png": "cannot be opened",
    }
    code, out, err = run(program, checksum, *(tmp_path / name for name in reasons), good)
    assert code == 1 and out.startswith(f"{good}  ") and len(out.splitlines()) == 1
    lines = err.splitlines()
    assert lines[-1] == f"blemish_predict: {len(reasons)} of {len(reasons) + 1} inputs failed."
    for line, (name, reason) in zip(lines[:-1], reasons.items(), strict=True):
        assert str(tmp_path / name).replace("\n", " ") in line and reason in line


def models_to_refuse(folder: Path) -> dict[str, Path]:
    """Folders of which no score may come, by the reason."""
    tiles = TilesInfo(columns=2, rows=1, step_x=8, step_y=8)
    area = AreaInfo(**Area(np.eye(HEIGHT, WIDTH, dtype=np.bool_)).to_rle())
    sized = {"width": WIDTH, "height": HEIGHT, "aspect": 2.0}
    kinds = {"tiled": InputInfo(**sized, tiles=tiles), "masked": InputInfo(**sized, area=area)}
    for name, kind in kinds.items():
        save_model(folder / name, tiny_network(), tiny_info(format_version=2, input=kind))
    plain = save_model(folder / "plain", tiny_network(), tiny_info())
    for name in ("cut", "damaged", "newer", "other", "no network", "zero"):
        shutil.copytree(plain, folder / name)
    network = folder / "cut" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-9])
    export_model(plain, "ort", folder / "phone")
    edits = {
        "damaged": ('"format"', '"format'),
        "newer": ('"format_version": 1', '"format_version": 9'),
        "other": ("blemish-model", "another-thing"),
        "zero": ('"width": 16', '"width": 0'),
    }
    for name, (old, new) in edits.items():
        record = folder / name / "model.json"
        record.write_text(record.read_text().replace(old, new, 1))
    (folder / "no network" / "model.onnx").unlink()
    return {
        "has tiles": folder / "tiled",
        "a region of interest": folder / "masked",
        "model.onnx is missing, cut short": folder / "cut",
        "parse error": folder / "damaged",
        "newer Blemish": folder / "newer",
        "not of a Blemish model": folder / "other",
        "model.onnx is missing,": folder / "no network",
        "out of range": folder / "zero",
        "export for other programs": folder / "phone",
        "there is no model.json": folder / "nothing",
    }


def test_bad_models_are_refused_in_one_line(program: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), picture(16, 8))
    for reason, model in models_to_refuse(tmp_path).items():
        code, out, err = run(program, model, image)
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
        assert str(model) in err and reason in err


@pytest.mark.parametrize(
    "arguments", [[], ["model"], ["--unknown", "model", "image"], ["--false_alarm_rate", "0", "model", "image"]]
)
def test_wrong_usage(arguments: list[str], program: Path) -> None:
    code, out, err = run(program, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
