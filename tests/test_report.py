"""The report page on made-up records: its words, its charts, and that it is one honest, self-contained file."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import ROOT

from blemish.report import (
    METRICS,
    EvaluationReport,
    FoundAtRates,
    Judged,
    Kind,
    OperatingPoint,
    Picture,
    Rate,
    Remark,
    Shelf,
    Threshold,
    charts,
    render_report,
    words,
)


def rate(count: int, total: int) -> Rate:
    """A rate with bounds that are easy to recognise."""
    return Rate(count, total, (0.011, 0.187), 0.8, 0.139)


def jpeg(value: int = 120) -> bytes:
    return cv2.imencode(".jpg", np.full((30, 40, 3), value, np.uint8))[1].tobytes()


def point(held: float | None, found: int, alarms: int, asked: tuple[float, ...] = (), **changes) -> OperatingPoint:
    """Of 63 cracks and 20 good images."""
    asked = asked or (() if held is None else (held,))
    shares = {"found": rate(found, 63), "false_alarms": rate(alarms, 20), "kinds": {"crack": rate(found, 63)}}
    return OperatingPoint(asked=asked, rate=held, threshold=29.0, **{**shares, **changes})


def report(good: int = 20, defective: int = 63, threshold: float = 30.0, **changes) -> EvaluationReport:
    """Good scores from 20 up to 29, defective ones from 28 up to 60."""
    scores = [("good", True, float(s)) for s in np.linspace(20, 29, good)]
    scores += [("crack", False, float(s)) for s in np.linspace(28, 60, defective)]
    images = tuple(
        Judged(
            name=f"test/{kind}/{i:03}.png", kind=kind, is_good=is_good, score=s, p_value=0.2, is_anomalous=s > threshold
        )
        for i, (kind, is_good, s) in enumerate(scores)
    )
    kinds = tuple(
        Kind(
            name,
            is_good,
            tuple(i.score for i in images if i.kind == name),
            rate(sum(i.is_anomalous for i in images if i.kind == name), n),
        )
        for name, is_good, n in (("good", True, good), ("crack", False, defective))
        if n
    )
    wrong = {g: [i for i in images if i.is_good == g and not i.is_correct] for g in (True, False)}
    metrics = {metric.key: 0.5 for metric in METRICS}
    fields = {
        "metrics": metrics,
        "not_computed": {},
        "images": images,
        "kinds": kinds,
        "false_alarms": rate(len(wrong[True]), good) if good else None,
        "misses": rate(len(wrong[False]), defective) if defective else None,
        "threshold": Threshold(threshold, 4.0, 0.01, "Where it comes from.", 209, 202, (20.0, 21.0, 25.0)),
        "remarks": (),
        "unsure": ("What is open.",),
        "model": {"Detector": "PatchCore"},
        "data": {"Data set": "bottle", "Evaluated": "2026-01-01 00:00 UTC"},
    }
    return EvaluationReport(**(fields | changes))


class TestWords:
    def test_the_verdict_of_an_ordinary_model(self):
        verdict = " ".join(words.headline(report()))
        assert verdict == (
            "Of 20 good images, 0 were called anomalous (95 %: under 14 %); 59 of 63 defective images were found; "
            "the threshold was set for 1 % false alarms from 209 good images of 202 parts."
        )

    def test_a_model_that_never_fires_is_called_so_first(self):
        verdict = " ".join(words.headline(report(threshold=1e9)))
        assert verdict.startswith("This model never fires: it called none of 83 images anomalous.")
        assert "0 of 63 defective images were found" in verdict

    def test_a_model_that_always_fires_is_called_so_first(self):
        assert words.headline(report(threshold=0.0))[0].startswith("This model always fires: it called every one of 83")

    def test_good_images_alone_tell_nothing_of_misses(self):
        verdict = words.headline(report(defective=0))[0]
        assert "0 were called anomalous" in verdict and "nothing here says how many defects are missed" in verdict
        assert "never fires" not in verdict

    def test_defective_images_alone_tell_nothing_of_false_alarms(self):
        assert "nothing here says how many false alarms there are" in words.headline(report(good=0))[0]

    def test_training_images_are_called_so_first(self):
        names = tuple(image.name for image in report().images)
        assert words.headline(report(seen_in_training=names))[0].startswith(
            "The model was trained on these very images."
        )
        assert words.headline(report(seen_in_training=names[1:]))[0].startswith("Of 20 good images")

    def test_one_image_is_singular(self):
        verdict = words.headline(report(good=1, defective=1))[0]
        assert "Of 1 good image, 0 were" in verdict and "1 defective image " in verdict

    def test_a_threshold_by_hand(self):
        threshold = replace(report().threshold, rate=None, is_given=True)
        assert words.set_for(threshold) == "the threshold was given by hand"

    def test_a_threshold_that_is_not_calibrated(self):
        guess = replace(report().threshold, rate=None, images=3, parts=1)
        assert words.set_for(guess) == "the threshold is a guess from 3 good images of 1 part"
        imported = replace(guess, images=0, parts=0, calibration=())  # its origin's own threshold
        assert words.set_for(imported) == "the threshold was not set from good images"

    @pytest.mark.parametrize(
        ("share", "text"),
        [
            (0.0, "0 %"),
            (0.004, "0.4 %"),
            (0.0139, "1.4 %"),
            (0.14, "14 %"),
            (0.9999, "99.9 %"),
            (1.0, "100 %"),
            (0.985, "98.5 %"),
        ],
    )
    def test_percent(self, share, text):
        assert words.percent(share) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0.0000"),
            (31.0, "31.00"),
            (1234.5, "1234"),
            (0.5, "0.5000"),
            (-3.25, "-3.250"),
            (1e9, "1e+09"),
            (1e-7, "1e-07"),
        ],
    )
    def test_number(self, value, text):
        assert words.number(value) == text

    def test_bounds_are_one_sided_at_the_ends(self):
        assert [words.bounds(rate(k, 20)) for k in (0, 3, 20)] == ["under 14 %", "1.1 to 19 %", "over 80 %"]


class TestCharts:
    def test_every_image_is_in_a_bar(self):
        shown = charts.histogram(report())
        counts = [sum(int(re.match(r"\d+", bar.title)[0]) for bar in bars) for bars in (shown.good, shown.defective)]
        assert counts == [20, 63]

    def test_good_bars_stand_above_the_line_and_defective_ones_hang_below(self):
        shown = charts.histogram(report())
        zero = shown.zero * charts.SIDE / 100
        assert all(bar.y + bar.height == pytest.approx(zero, abs=0.1) and bar.y >= 0 for bar in shown.good)
        assert all(bar.y == pytest.approx(zero) and bar.y + bar.height <= charts.SIDE for bar in shown.defective)

    def test_a_bar_is_as_high_as_its_count_on_both_sides(self):
        shown = charts.histogram(report())
        unit = {bar.height / int(bar.title.split()[0]) for bar in (*shown.good, *shown.defective)}
        assert max(unit) == pytest.approx(min(unit))

    def test_a_threshold_far_away_leaves_the_scores_in_view(self):
        near, far = charts.histogram(report()), charts.histogram(report(threshold=1e9))
        assert near.threshold is not None and 0 < near.threshold < 100
        assert far.threshold is None and far.scale.high < 70

    @pytest.mark.parametrize("scores", [(5.0,), (5.0, 5.0), (0.0, 0.0)])
    def test_equal_scores_have_an_axis(self, scores):
        only = report(good=0, defective=0)
        only = replace(
            only,
            kinds=(Kind("good", True, scores, rate(0, len(scores))),),
            threshold=replace(only.threshold, score=scores[0], calibration=()),
        )
        shown = charts.histogram(only)
        assert shown.scale.low < scores[0] < shown.scale.high and len(shown.good) == 1

    @pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 911.0), (1e-6, 2e-6), (19.9, 20.1), (0, 0.3)])
    def test_round_values_lie_inside_and_are_few(self, low, high):
        values = charts.round_values(low, high, 5)
        assert 2 <= len(values) <= 7 and all(low <= value <= high for value in values)
        steps = np.diff(values)
        assert np.allclose(steps, steps[0])

    def test_a_curve_is_cut_at_its_limit_by_interpolation(self):
        cut = charts.pro_chart(report(pro=(np.array([0.0, 0.2, 0.6, 1.0]), np.array([0.0, 0.5, 0.9, 1.0]))))
        assert cut.line.endswith("L1000 400")  # at 0.3 it is 0.5 + 0.1, and the square's top is 0

    def test_a_steep_curve_keeps_its_ends_and_its_height_when_thinned(self):
        x = np.concatenate([np.zeros(5000), np.linspace(0, 1, 5000)])
        y = np.concatenate([np.linspace(0, 0.97, 5000), np.linspace(0.97, 1, 5000)])
        line = charts.roc_chart(report(roc=(x, y))).line
        points = [tuple(map(float, point.split())) for point in line[1:].split("L")]
        assert len(points) < 300 and points[0] == (0, 1000) and points[-1] == (1000, 0)
        assert min(v for u, v in points if u == 0) == pytest.approx(30, abs=10)

    def test_the_mark_is_the_point_in_force(self):
        chart = charts.roc_chart(report(roc=(np.array([0.0, 1.0]), np.array([0.0, 1.0]))))
        assert chart.mark == (0, pytest.approx(100 * 59 / 63))


class _Tags(HTMLParser):
    """Every tag with its attributes; complains about tags that are not closed in order."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)


def parse(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    tags.close()
    assert tags.open == []
    return tags


def full_report(**changes) -> EvaluationReport:
    """A report that has every section."""
    plain = report(threshold=29.0)
    by_key = {"misses": plain.images[20:22], "hard_defects": plain.images[60:62], "hard_good": plain.images[18:20]}
    shelves = {key: Shelf(tuple(Picture(j, jpeg(), jpeg(90), 40, 30) for j in some), 9) for key, some in by_key.items()}
    return replace(
        plain,
        roc=(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        pro=(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        remarks=(Remark("alarm", "Look out."), Remark("note", "Also this.")),
        found=FoundAtRates(points=(point(0.01, 40, 0, in_force=True), point(0.05, 60, 2))),
        gallery=shelves,
        **changes,
    )


class TestPage:
    def test_it_loads_nothing(self):
        html = render_report(full_report())
        for tag, attributes in parse(html).seen:
            assert tag not in ("script", "link", "iframe", "object", "embed")
            assert attributes.get("src", "data:").startswith("data:image/jpeg;base64,") or tag != "img"
            assert "href" not in attributes and not any(name.startswith("on") for name in attributes)
        assert "http://" not in html and "https://" not in html and "@import" not in html and "url(" not in html
        assert "default-src 'none'" in html

    def test_every_section_is_there(self):
        html = render_report(full_report())
        headings = re.findall(r"<h2>(.*?)(?: <small>.*)?</h2>", html)
        assert headings == [
            "Found at the promised rate",
            "Every image by its score",
            "By type of defect",
            "Apart from any threshold",
            "Missed defects",
            "Narrowly found",
            "Narrowly passed",
            "All figures, and how to read them",
            "What remains unsure",
            "Which model, which data",
        ]
        text = " ".join(parse(html).text).replace("\N{NO-BREAK SPACE}", " ")
        assert all(metric.says in text and metric.key in text for metric in METRICS)
        assert "7 more images" in text  # 9 misses, 2 of them shown

    def test_the_verdict_is_the_heading(self):
        html = render_report(report(threshold=1e9)).replace("\N{NO-BREAK SPACE}", " ")
        assert re.search(r"<h1>This model never fires: it called none of 83 images anomalous\.", html)

    def test_without_defects_the_missing_figures_have_a_reason(self):
        metrics = dict.fromkeys((metric.key for metric in METRICS), None)
        reasons = dict.fromkeys(metrics, "there are no defective images")
        html = render_report(report(defective=0, metrics=metrics, not_computed=reasons))
        assert html.count("Not computed: there are no defective images") == len(METRICS)
        assert "no defective images</td>" in html

    def test_names_from_outside_stay_text(self):
        hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
        plain = full_report(data={"Data set": hostile, "Evaluated": "now"}, unsure=(hostile,))
        image = replace(plain.images[20], name=hostile, kind=hostile)
        kind = replace(plain.kinds[1], name=hostile)
        shelf = Shelf((Picture(image, jpeg(), jpeg(), 40, 30),), 1)
        html = render_report(replace(plain, kinds=(plain.kinds[0], kind), gallery={"misses": shelf}))
        tags = parse(html).seen
        assert not [tag for tag, attributes in tags if tag == "script" or "onerror" in attributes]
        assert [tag for tag, _ in tags].count("img") == 2

    def test_a_name_that_is_no_text_is_shown(self):
        image = replace(full_report().images[20], name="bad\udcff\x1b[31m.png")
        shelf = Shelf((Picture(image, jpeg(), jpeg(), 40, 30),), 1)
        html = render_report(replace(full_report(), gallery={"misses": shelf}))
        assert "bad??[31m.png" in html and html.encode()

    def test_every_combination_of_missing_parts_renders(self):
        for good in (0, 1, 5):
            for defective in (0, 1, 5):
                if good + defective:
                    parse(render_report(report(good=good, defective=defective)))


def test_every_metric_is_documented_in_the_words_of_the_report():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for metric in METRICS:
        assert f"| `{metric.key}`: {metric.name} | {metric.says} | {metric.pitfall} |" in text


class TestInChromium:
    """What a browser makes of the page, if there is one."""

    @pytest.fixture
    def chromium(self) -> str:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if found is None:
            pytest.skip("no Chromium is installed")
        return found

    def shot(self, chromium: str, folder: Path, width: int, *flags: str) -> np.ndarray:
        """The page as a picture (H, W, 3)."""
        (folder / "report.html").write_text(render_report(full_report()), encoding="utf-8")
        quiet = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", *quiet, "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},3000", *flags,
            f"--screenshot={folder / 'page.png'}", f"file://{folder / 'report.html'}",
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        return cv2.imread(str(folder / "page.png"))

    @pytest.mark.parametrize("width", [360, 1600])
    def test_nothing_sticks_out_on_either_side(self, chromium, tmp_path, width):
        page = self.shot(chromium, tmp_path, width)
        assert page.shape[1] == width and page.std() > 5
        for column in (page[:, :6], page[:, -6:]):
            assert (column == column[0, 0]).all()

    def test_dark_where_the_reader_wants_it_dark(self, chromium, tmp_path):
        light = self.shot(chromium, tmp_path, 800)
        dark = self.shot(chromium, tmp_path, 800, "--blink-settings=preferredColorScheme=0")
        assert light[0, 0].mean() > 240 and dark[0, 0].mean() < 40
