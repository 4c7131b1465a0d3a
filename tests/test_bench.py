"""The bench on small products of its own: the table, what is kept, and what a kill leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from command import ROOT, blemish
from onnx import TensorProto, helper, numpy_helper

from blemish.benchmark import Row, Table, bench
from blemish.config import load_config
from blemish.errors import DatasetError
from blemish.report import METRICS

SMALL = ["Model.width=64", "Model.height=64", "Calibrate.false_alarm_rate=0.2"]


def make_product(folder: Path, seed: int) -> None:
    """A product in MVTec layout: noise of its own, 6 images to learn from, 2 good and 2 with a dark patch to judge."""
    random = np.random.default_rng(seed)
    for split, count in (("train/good", 6), ("test/good", 2), ("test/hole", 2)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            image = np.clip(random.normal(100 + 40 * seed, 10, (64, 64)), 0, 255).astype(np.uint8)
            if split == "test/hole":
                image[20:40, 20:40] = 0
            cv2.imwrite(str(folder / split / f"{number}.png"), image)
    (folder / "ground_truth" / "hole").mkdir(parents=True)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    for number in range(2):
        cv2.imwrite(str(folder / "ground_truth" / "hole" / f"{number}_mask.png"), mask)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    for seed, name in enumerate(("bolt", "nut")):
        make_product(tmp_path / "products" / name, seed)
    return tmp_path / "products"


def backbone(folder: Path, weight: float) -> Path:
    """Two convolutions, of stride 8 and 2."""
    kernels = [np.full((4, 3, 8, 8), weight, np.float32), np.full((4, 4, 2, 2), weight, np.float32)]
    nodes = [
        helper.make_node("Conv", ["image", "kernel0"], ["fine"], strides=[8, 8]),
        helper.make_node("Conv", ["fine", "kernel1"], ["coarse"], strides=[2, 2]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    coarse = helper.make_tensor_value_info("coarse", TensorProto.FLOAT, ["N", 4, "h", "w"])
    weights = [numpy_helper.from_array(kernel, f"kernel{i}") for i, kernel in enumerate(kernels)]
    graph = helper.make_graph(nodes, "backbone", [image], [coarse], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "backbone.onnx")
    return folder / "backbone.onnx"


def configs(*overrides: str):
    return {"PatchCore": load_config("PatchCore", [*SMALL, *overrides])}


def made(output: Path, category: str) -> int:
    """When the category's model was written; another fit gives another value."""
    return (output / "PatchCore" / category / "best_model" / "inference" / "model.json").stat().st_mtime_ns


class TestTable:
    rows = (
        Row("A", "bolt", {"image_auroc": 1.0, "au_pro": 0.5, "found_at_5": 0.875}, 3, 1),
        Row(
            "A",
            "nut",
            {"image_auroc": 0.5, "au_pro": None, "smallest_rate": 1 / 17, "found_at_smallest_rate": 0.25},
            5,
            1,
        ),
        Row("B", "bolt", {"image_auroc": 0.25, "au_pro": None}, 1, 1),
    )

    def test_each_model_has_a_mean_over_what_is_known(self):
        means = {row.model: row.metrics for row in Table(self.rows, ()).with_means() if row.category == "mean"}
        assert {key: means["A"][key] for key in ("image_auroc", "au_pro")} == {"image_auroc": 0.75, "au_pro": 0.5}
        assert means["B"] == {"image_auroc": 0.25, "au_pro": None}
        assert means["A"]["found_at_5"] == 0.875  # the other product does not support 5 %

    def test_the_text_is_a_table(self):
        lines = Table(self.rows, ()).text().splitlines()
        assert [line.split()[:2] for line in lines[1:]] == [
            ["A", "bolt"], ["A", "nut"], ["A", "mean"], ["B", "bolt"], ["B", "mean"],
        ]  # fmt: skip
        assert len({len(line) for line in lines}) == 1
        rows = [re.split(r"  +", line) for line in lines]
        assert rows[0][2:7] == ["found at 1 %", "found at 2 %", "found at 5 %", "found at 10 %", "image AUROC"]
        assert rows[1][2:7] == ["-", "-", "0.8750", "-", "1.0000"]
        # the smallest rate that its good images support, and never as if 5 % held
        assert rows[2][2:7] == [*["0.2500 at 5.9 %"] * 3, "-", "0.5000"]
        assert rows[3][2:7] == ["-", "-", "0.8750", "-", "0.7500"]


def test_the_command_prints_the_table_and_keeps_everything(products, tmp_path):
    overrides = [part for override in SMALL for part in ("-o", override)]
    done = blemish("bench", products, "--model", "patchcore", "--output", tmp_path / "out", *overrides)
    assert done.code == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["bolt", "nut", "mean"]
    with (tmp_path / "out" / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {metric.key for metric in METRICS} < set(rows[0]) and [row["category"] for row in rows][-1] == "mean"
    content = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert content["done_flag"] and list(content["mean"]) == ["PatchCore"] and content["failed"] == []
    for name in ("bolt", "nut"):
        own = json.loads((tmp_path / "out" / "PatchCore" / name / "evaluate_result.json").read_text())
        row = next(row for row in rows if row["category"] == name)
        assert float(row["image_auroc"]) == own["metrics"]["image_auroc"]
        (least, *_) = own["found_at_rates"]["points"]  # 6 good images support 14 % at best
        assert float(row["smallest_rate"]) == least["false_alarm_rate"] == pytest.approx(1 / 7)
        assert float(row["found_at_smallest_rate"]) == least["found"]["share"]
        assert {row[f"{key}_at_{rate}"] for key in ("found", "false_alarms") for rate in (1, 2, 5, 10)} == {""}
        assert (tmp_path / "out" / "PatchCore" / name / "report.html").is_file()


class TestContinuing:
    def test_what_is_done_is_kept_and_what_has_changed_is_not(self, products, tmp_path):
        output = tmp_path / "out"
        first = bench(products, output, configs())
        before = {name: made(output, name) for name in ("bolt", "nut")}
        assert bench(products, output, configs()) == first
        assert {name: made(output, name) for name in before} == before
        image = cv2.imread(str(products / "nut" / "test" / "good" / "0.png"))
        cv2.imwrite(str(products / "nut" / "test" / "good" / "0.png"), 255 - image)
        bench(products, output, configs())
        assert made(output, "bolt") == before["bolt"] and made(output, "nut") != before["nut"]

    def test_another_configuration_is_another_run(self, products, tmp_path):
        bench(products, tmp_path / "out", configs(), ["bolt"])
        before = made(tmp_path / "out", "bolt")
        bench(products, tmp_path / "out", configs("Global.seed=1"), ["bolt"])
        assert made(tmp_path / "out", "bolt") != before
        run = tmp_path / "out" / "PatchCore" / "bolt"
        assert [path.name for path in (run / "best_model").iterdir()] == ["inference"]  # no model before piles up
        assert "seed: 1" in (run / "config.yaml").read_text()

    def test_a_backbone_that_has_changed_is_another_run(self, products, tmp_path):
        bench(products, tmp_path / "out", configs(f"Model.backbone={backbone(tmp_path, 1.0)}"), ["nut"])
        before = made(tmp_path / "out", "nut")
        bench(products, tmp_path / "out", configs(f"Model.backbone={backbone(tmp_path, 1.0)}"), ["nut"])
        assert made(tmp_path / "out", "nut") == before
        bench(products, tmp_path / "out", configs(f"Model.backbone={backbone(tmp_path, 0.5)}"), ["nut"])
        assert made(tmp_path / "out", "nut") > before

    def test_a_record_that_is_damaged_counts_as_not_done(self, products, tmp_path):
        table = bench(products, tmp_path / "out", configs(), ["bolt"])
        for text in ("", "[]", "{}", '{"key": 1}'):
            (tmp_path / "out" / "PatchCore" / "bolt" / "finished.json").write_text(text)
            assert bench(products, tmp_path / "out", configs(), ["bolt"]).rows[0].metrics == table.rows[0].metrics

    @pytest.mark.parametrize("moment", ["best_model", "evaluate_result.json", "finished.json"])
    def test_a_kill_at_any_moment(self, moment, products, tmp_path):
        output = tmp_path / "out"
        overrides = [part for override in SMALL for part in ("-o", override)]
        command = [sys.executable, "-m", "blemish", "bench", str(products), "--output", str(output), *overrides]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        deadline = time.monotonic() + 120
        while not (output / "PatchCore" / "bolt" / moment).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished = (output / "PatchCore" / "bolt" / "finished.json").exists()
        before = made(output, "bolt") if finished else None
        table = bench(products, output, configs())
        assert [row.category for row in table.rows] == ["bolt", "nut"] and table.failed == []
        assert before in (None, made(output, "bolt"))
        assert json.loads((output / "bench.json").read_text())["done_flag"]


class TestFaults:
    def test_a_product_that_fails_is_named_and_the_others_go_on(self, products, tmp_path):
        for path in (products / "bolt" / "train" / "good").iterdir():
            path.write_bytes(b"no image")
        table = bench(products, tmp_path / "out", configs())
        assert [row.category for row in table.rows] == ["nut"]
        assert len(table.failed) == 1 and table.failed[0].startswith("PatchCore on bolt failed: ")

    def test_an_unknown_product(self, products, tmp_path):
        with pytest.raises(DatasetError, match=r"no data set blot.*Did you mean `bolt`"):
            bench(products, tmp_path / "out", configs(), ["blot"])

    def test_no_product_at_all(self, tmp_path):
        (tmp_path / "void").mkdir()
        with pytest.raises(DatasetError, match="void"):
            bench(tmp_path / "void", tmp_path / "out", configs())

    def test_one_data_set_is_one_product(self, products, tmp_path):
        table = bench(products / "nut", tmp_path / "out", configs())
        assert [row.category for row in table.rows] == ["nut"]
