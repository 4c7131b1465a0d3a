"""Files of annotation tools are told from others by what is in them, and what they say of which images."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.datasets.annotations.recognising import SUFFIXES, annotation_file, marked_stems
from blemish.errors import DatasetError


def told(name, content, limit_kept=True):
    """What is said of a file, whose content is text, bytes, or an object as JSON."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    data = content if isinstance(content, bytes) else content.encode()

    def read(limit):
        if len(data) > limit:
            raise DatasetError("too large")
        return data

    return annotation_file(PurePosixPath(name), read)


def voc(*labels, name="a.jpg"):
    objects = "".join(f"<object><name>{label}</name><bndbox/></object>" for label in labels)
    return f"<annotation><filename>{name}</filename>{objects}</annotation>"


def labelme(path, *labels, **more):
    return {"imagePath": path, "imageHeight": 1, "shapes": [{"label": label, "points": []} for label in labels], **more}


def coco(*annotations, **more):
    images = [{"id": number, "file_name": f"x/{name}.png"} for number, name in enumerate("abc")]
    return {"images": images, "annotations": list(annotations), "categories": [{"id": 1, "name": "x"}], **more}


VIA = {"a.png9": {"filename": "a.png", "regions": [{"region_attributes": {"type": "x"}}], "file_attributes": {}}}
SUPERVISELY = {"size": {"width": 1, "height": 1}, "tags": [], "objects": []}
RECTANGLE = {"id": "1", "type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["x"]}}
TASK = {"data": {"image": "/data/upload/1/a.png"}, "annotations": [{"result": [RECTANGLE]}]}
CHOICE = {"id": "2", "type": "choices", "value": {"choices": ["OK"]}}
LOOKOUT = {"source-ref": "s3://b/a.png", "anomaly-label": 1, "anomaly-label-metadata": {"class-name": "anomaly"}}
NORMAL = {"source-ref": "s3://b/b.png", "anomaly-label": 0, "anomaly-label-metadata": {"class-name": "normal"}}
DAGM = "1\n576\t1\t0576.PNG\t1\t0576_label.PNG\n577\t1\t0577.PNG\t0\t0\n"


@pytest.mark.parametrize(
    ("name", "content", "tool", "marked", "clean"),
    [
        ("a.json", labelme("a.jpg", "x"), "labelme", {"a"}, set()),
        ("A.json", labelme("..\\x\\A.JPG"), "labelme", set(), {"a"}),
        ("a.json", labelme("b.jpg"), "labelme", {"a"}, {"b"}),
        ("a.json", labelme("D:\\x\\b.jpg", "x"), "labelme", {"a", "b"}, set()),
        ("a.json", labelme("a.jpg", "OK"), "labelme", set(), {"a"}),
        ("a.json", labelme("a.jpg", flags={"NG": True}), "labelme", {"a"}, set()),
        ("a.json", labelme("a.jpg", flags={"OK": True, "NG": False}), "labelme", set(), {"a"}),
        ("a.json", labelme("a.jpg", flags={"OK": False}), "labelme", {"a"}, set()),
        ("a.json", b'{"shapes": [{"label": "x", "poi', "labelme", {"a"}, set()),
        ("a.json", json.dumps(labelme("a.jpg", "划痕"), ensure_ascii=False).encode("gbk"), "labelme", {"a"}, set()),
        ("x.json", coco({"image_id": "0", "category_id": "1"}), "coco", {"a"}, {"b", "c"}),
        ("x.json", coco({"image_id": 7, "category_id": 1}), "coco", {"a", "b", "c"}, set()),
        ("x.json", coco(categories=[{"id": 1, "name": "good"}]), "coco", set(), {"a", "b", "c"}),
        ("x.json", coco(categories=None), "", set(), {"a", "b", "c"}),
        ("via.json", VIA, "via", {"a"}, set()),
        ("via.json", {"_via_settings": {}, "_via_img_metadata": VIA}, "via", {"a"}, set()),
        ("via.json", {"b": {"filename": "b.png", "regions": {}}}, "via", set(), {"b"}),
        ("via.json", {"b": {"filename": "b.png", "regions": [], "file_attributes": {"q": "NG"}}}, "via", {"b"}, set()),
        ("ann/a.png.json", SUPERVISELY, "supervisely", set(), {"a"}),
        ("ann/a.json", {**SUPERVISELY, "objects": [{"classTitle": "x"}]}, "supervisely", {"a"}, set()),
        ("ann/a.png.json", {**SUPERVISELY, "tags": [{"name": "odd"}]}, "supervisely", {"a"}, set()),
        ("meta.json", {"classes": [{"title": "x", "shape": "any"}], "tags": []}, "supervisely", set(), set()),
        ("p.json", [TASK], "labelstudio", {"a"}, set()),
        ("p.json", [{**TASK, "annotations": [{"result": [CHOICE]}]}], "labelstudio", set(), {"a"}),
        ("p.json", [{**TASK, "annotations": []}], "labelstudio", {"a"}, set()),
        ("p.json", [{"image": "a.png", "id": 1, "annotator": 1}], "labelstudio", set(), {"a"}),
        ("a.xml", voc("x"), "voc", {"a"}, set()),
        ("A.XML", voc(), "voc", set(), {"a"}),
        ("a.xml", voc("OK", name="b.jpg"), "voc", set(), {"a", "b"}),
        ("a.xml", "<annotation><object>", "voc", {"a"}, set()),
        (
            "x.xml",
            "<annotations><image name='s/a.png'><box label='x'/></image><image name='b'/></annotations>",
            "cvat",
            {"a"},
            {"b"},
        ),
        ("x.xml", "<annotations><track><box frame='3'/></track></annotations>", "cvat", {"frame_000003"}, set()),
        ("a.xml", "<annotation><object><name>x</name><polygon><pt/></polygon></object></annotation>", "", {"a"}, set()),
        ("x.xml", "<dataset><images><image file='a.jpg'><box/></image></images></dataset>", "", {"a"}, set()),
        ("labels/a.txt", "0 0.5 0.5 0.1 0.1\n", "yolo", {"a"}, set()),
        ("a.txt", "0 .5 .5 .1 .1 .2 .3\r\n\r\n1 0 0 1 1\n", "yolo", {"a"}, set()),
        ("labels/a.txt", "", "yolo", set(), {"a"}),
        ("000.txt", "\n", "yolo", set(), {"000"}),
        ("data.yaml", "train: x\nnames: [a]\n", "yolo", set(), set()),
        ("d.yml", "path: x\nnames: {0: a}\n", "yolo", set(), set()),
        ("Labels.txt", DAGM, "", {"0576"}, {"0577"}),
        (
            "image_anno.csv",
            'image,label,mask\nData/Images/Normal/0.JPG,normal,\nx/1.JPG,"bent,chip",m\n',
            "",
            {"1"},
            {"0"},
        ),
        ("split.csv", "object,split,label,image,mask\ncandle,train,normal,x/0.JPG,\n", "", set(), {"0"}),
        ("via.csv", 'filename,region_shape_attributes\na.png,"{""name"":""rect""}"\nb.png,{}\n', "via", {"a"}, {"b"}),
        ("_annotations.csv", "filename,width,height,class,xmin\na.jpg,1,1,x,2\n", "", {"a"}, set()),
        ("train.manifest", f"{json.dumps(LOOKOUT)}\n{json.dumps(NORMAL)}\n", "lookout", {"a"}, {"b"}),
        ("train.json", f"{json.dumps(NORMAL)}\n", "lookout", set(), {"b"}),
        ("x.json", [{"image": "a.png", "annotations": [{"label": "x"}]}], "", {"a"}, set()),
        (
            "x.json",
            {"categories": {}, "items": [{"id": "s/a", "annotations": [1]}, {"id": "b", "annotations": []}]},
            "",
            {"a"},
            {"b"},
        ),
        ("x.json", {"asset": {}, "regions": []}, "", set(), set()),
    ],
)
def test_files_of_tools(name, content, tool, marked, clean):
    found = told(name, content)
    assert found is not None and found.title
    assert (found.tool, set(found.marked), set(found.clean)) == (tool, marked, clean)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("camera.json", {"exposure": 3, "gain": [1, 2]}),
        ("package.json", {"name": "x", "version": "1", "dependencies": {}}),
        ("defects_config.json", {"defects": ["a"], "size": 3}),
        ("000_res.json", labelme("a.jpg", "x")),
        ("check_dataset_result.json", {"done_flag": True, "findings": []}),
        ("conversion.json", {"from": "coco", "finished": True, "report": {}}),
        ("list.json", [1, 2, 3]),
        ("empty.json", {}),
        ("none.json", []),
        ("broken.json", b"{"),
        ("binary.json", b"\xff\xfe\x00"),
        ("deep.json", b"[" * 100_000),
        ("a.xml", "<svg/>"),
        ("a.xml", "<camera><annotations>none</annotations></camera>"),
        ("a.xml", ""),
        ("README.txt", "This data set shows nuts."),
        ("requirements.txt", "numpy==2.0\ntorch\n"),
        ("notes.txt", ""),
        ("numbers.txt", "1 2 3\n4 5 6\n"),
        ("matrix.txt", "1200.5 0 320 0 1\n"),
        ("train.txt", "images/a.png\nimages/b.png\n"),
        ("classes.txt", "dent\nscratch\n"),
        ("measurements.csv", "time,temperature\n1,20\n"),
        ("results.csv", "image,score\na.png,3.4\n"),
        ("empty.csv", ""),
        ("settings.yaml", "names: none\n"),
        ("people.yaml", "names: [a, b]\n"),
        ("broken.yaml", "names: ["),
        ("bomb.yaml", "a: &a [x,x]\nb: &b [*a,*a]\nnames: 3\n"),
        ("x.manifest", "CACHE MANIFEST\n/index.html\n"),
        ("a.png", b"\x89PNG"),
    ],
)
def test_other_files(name, content):
    assert told(name, content) is None


@given(data=st.binary(max_size=300), suffix=st.sampled_from(sorted(SUFFIXES)))
def test_any_bytes_are_something_or_nothing(data, suffix):
    found = told(f"a{suffix}", data)
    assert found is None or not found.marked & found.clean


KEYS = (
    "shapes imagePath flags images annotations categories id image_id file_name filename regions region_attributes "
    "file_attributes objects size tags classes title classTitle data result value type image label choices items "
    "_via_img_metadata source-ref x-metadata x internal-color-map class-map class-name asset annotator"
)
_KEYS = st.sampled_from(KEYS.split())
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("a.png"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=20,
)


@given(content=_VALUES)
def test_any_json_of_these_keys_is_something_or_nothing(content):
    found = told("a.json", content)
    assert found is None or not found.marked & found.clean


def test_what_is_too_large_to_look_at_is_nothing():
    def read(limit):
        raise DatasetError("too large")

    assert annotation_file(PurePosixPath("a.json"), read) is None


def test_large_pictures_within_the_file_are_passed_over():
    content = json.dumps(labelme("a.jpg", "x", imageData="A" * (20 << 20)))
    assert told("a.json", content).marked == {"a"}


def test_marks_of_a_folder(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / "b.json").write_text(json.dumps(labelme("c.png", "x")))
    (tmp_path / ".hidden.json").write_text(json.dumps(labelme("d.png", "x")))
    assert marked_stems(tmp_path) == {"a": ["labels"], "b": ["."], "c": ["."]}
    assert marked_stems(tmp_path, ["b.json"]) == {"a": ["labels"]}
