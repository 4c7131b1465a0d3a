"""Folders as people have them: in their own words, by lots, lines and days, with masks anywhere, parts of any name."""

# ruff: noqa: RUF001 - Turkish has an i without a dot

from __future__ import annotations

import unicodedata

import cv2
import numpy as np
from made_layouts import COLUMNS, ROWS, Made, layout

PAIRS = """
OK NG | ok nok | Good Bad | GOOD BAD | Pass Fail | PASSED FAILED | Normal
Abnormal | normal anomaly | normals anomalies | good defect | good defective |
no_defect defect | defect-free defective | non_defective defective |
nondefective defective | IO NIO | i.O. n.i.O. | gut schlecht | Gutteile
Schlechtteile | gute fehlerhafte | fehlerfrei fehlerhaft | Gut Ausschuss | iO
niO | in_Ordnung nicht_in_Ordnung | bon mauvais | conforme non_conforme |
Conformes Non-conformes | bonnes rebuts | sain défectueux | sans_défaut défaut |
bueno malo | buenas defectuosas | correcto defectuoso | sin_defecto con_defecto
| aceptado rechazado | aprobado rechazado | buono difettoso | buoni scarti |
conformi non_conformi | senza_difetti difetti | accettati scartati | idoneo
non_idoneo | bom ruim | boas defeituosas | aprovado reprovado | sem_defeito
com_defeito | goed fout | goed afgekeurd | goedgekeurd afgekeurd | dobre złe |
dobre wadliwe | dobre zle | dobré špatné | dobré vadné | OK zmetky | iyi kötü |
sağlam hatalı | hatasız hatalı | годные брак | хорошие плохие | норма дефект |
годные негодные | 良品 不良品 | 良品 不良 | 合格 不合格 | 正常 异常 | 正常 異常 | 正常品 异常品 | 无缺陷 有缺陷 |
无瑕疵 瑕疵 | 好 坏 | 合格品 废品 | 良 不良 | 良好 不良 | 良品 欠陥品 | 正常 キズ | 欠陥なし 欠陥あり | 양품 불량 | 양품
불량품 | 정상 비정상 | 정상 결함 | 합격 불합격 | godkända underkända | hyvä viallinen | ok_front
def_front | ok_parts ng_parts | okparts ngparts | OKParts NGParts | 01_ok 02_ng
| 1_OK 2_NG | OK1 NG1 | ok-2026 ng-2026 | img_good img_bad | good_images
defect_images | GoodImages BadImages | Images_Good Images_Bad | part.ok part.ng
| OK_2026-11-20 NG_2026-11-20 | line1_OK line1_NG | ok not_ok | OK NotOK | good
notgood | good not_good | good no_good | accepted rejected | accept reject |
perfect flawed | healthy damaged | intact broken | clean dirty | conforming
nonconforming | compliant non-compliant | OK KO | true_ok false_ng | Good_Parts
Scrap | undamaged damaged | flawless faulty | acceptable unacceptable | OK
Ausschuß | ok fehler | ok defekt | ok defekte | gut defekt | gut n.i.O | io
nio_teile | GUT_TEILE NIO_TEILE | Gutbilder Fehlerbilder
"""


def pairs() -> list[tuple[str, str]]:
    return [tuple(pair.split(" ")) for pair in " ".join(PAIRS.split()).split(" | ")]


def of_pair(good: str, bad: str) -> None:
    @layout(f"`{good}`, `{bad}`")
    def both(made: Made) -> None:
        made.learn(f"{good}/{{:03}}.png", 4)
        made.bad(f"{bad}/{{:03}}.png", 3, kind=bad)


for words in pairs():
    of_pair(*words)
of_pair("sans défaut", "avec défaut")
of_pair("cam0 good", "cam0 bad")

of_pair(unicodedata.normalize("NFD", "sans défaut"), unicodedata.normalize("NFD", "défaut"))
of_pair(unicodedata.normalize("NFD", "dobré"), unicodedata.normalize("NFC", "špatné"))


def of_tree(
    name: str, learn: list[str], bad: list[tuple[str, str]], good: list[str] = (), spare: list[str] = (), **how
):
    """A tree of folders without masks."""

    @layout(name, **how)
    def tree(made: Made) -> None:
        for number, folder in enumerate(learn):
            made.learn(f"{folder}/a{{:03}}.png".lstrip("/"), 3, first=number)
        for folder in good:
            made.good(f"{folder}/b{{:03}}.png".lstrip("/"), 2)
        for folder, kind in bad:
            made.bad(f"{folder}/c{{:03}}.png".lstrip("/"), 2, kind=kind)
        for folder in spare:
            made.spare(f"{folder}/d{{:03}}.png".lstrip("/"), 2, is_good=False)


# good and bad below days, lots, lines, cameras and shifts, and the other way round
DAYS = ("2026-11-20", "2026-11-21")
of_tree("days, then OK and NG", [f"{day}/OK" for day in DAYS], [(f"{day}/NG", "NG") for day in DAYS])
of_tree("OK and NG, then days", [f"OK/{day}" for day in DAYS], [(f"NG/{day}", "NG") for day in DAYS])
of_tree("OK and NG, then types of defects", ["OK"], [("NG/Kratzer", "Kratzer"), ("NG/Beule", "Beule")])
of_tree("OK and NG in several levels", ["data/line 1/OK/cam1", "data/line 2/OK/cam1"], [("data/line 1/NG/cam1", "NG")])
of_tree(
    "lots, shifts, good, bad",
    ["Lot 4711/Frühschicht/gut", "Lot 4711/Spätschicht/gut"],
    [("Lot 4711/Frühschicht/schlecht", "schlecht")],
)
of_tree("only some days have defects", ["2026-11-20/ok", "2026-11-21/ok"], [("2026-11-21/ng", "ng")])
of_tree("good images in the folder itself, NG below", [""], [("NG", "NG")], refused="nothing tells", way="--good .")
of_tree(
    "good images in the folder itself, defects below by type",
    [""],
    [("defects/scratch", "scratch")],
    refused="nothing tells",
    way="--good .",
)
of_tree("good/ beside loose images", ["good"], [], spare=[""], refused="nothing tells", way="good")

# splits
SPLIT_WORDS = [
    ("Train", "Test", "Good", "Bad"),
    ("TRAIN", "TEST", "OK", "NG"),
    ("training", "testing", "normal", "abnormal"),
    ("training", "validation", "good", "defect"),
    ("train", "val", "good", "bad"),
    ("Training", "Test", "Gut", "Schlecht"),
    ("apprentissage", "test", "bon", "mauvais"),
    ("entrenamiento", "prueba", "bueno", "malo"),
    ("treino", "teste", "bom", "ruim"),
    ("addestramento", "test", "buono", "difettoso"),
    ("训练集", "测试集", "正常", "异常"),
    ("訓練", "テスト", "良品", "不良品"),
    ("학습", "테스트", "양품", "불량"),
    ("train_data", "test_data", "ok", "ko"),
    ("01_train", "02_test", "good", "defective"),
    ("train set", "test set", "pass", "fail"),
]
for train, test, good, bad in SPLIT_WORDS:
    of_tree(
        f"`{train}`, `{test}` of `{good}`, `{bad}`",
        [f"{train}/{good}"],
        [(f"{test}/{bad}", bad)],
        good=[f"{test}/{good}"],
        spare=[f"{train}/{bad}"],
    )
    of_tree(
        f"`{good}`, `{bad}` of `{train}`, `{test}`",
        [f"{good}/{train}"],
        [(f"{bad}/{test}", bad)],
        good=[f"{good}/{test}"],
        spare=[f"{bad}/{train}"],
    )
of_tree("train, val, test", ["train/good"], [("test/bad", "bad")], good=["test/good"], spare=["val/good", "val/bad"])
of_tree("val only, without train", [], [("val/bad", "bad")], good=["val/good"], refused="no good images")
of_tree("test only", [], [("test/crack", "crack")], good=["test/good"], refused="no good images")
of_tree(
    "train flat, test labelled",
    ["train"],
    [("test/bad", "bad")],
    good=["test/good"],
    refused="train holds good",
    way="--good train",
)
of_tree(
    "train/cameras, test labelled",
    ["train/cam1", "train/cam2"],
    [("test/bad", "bad")],
    good=["test/good"],
    refused="hold",
    way="--good train",
)
of_tree("train labelled, test flat", ["train/good"], [], spare=["test"], asked="whether test holds", way="")
of_tree(
    "train labelled, test of unknown words",
    ["train/good"],
    [("test/beule", "beule"), ("test/riefe", "riefe")],
    asked="test/beule",
    way="--good none",
)
of_tree("train/good, test/OK, test/NG", ["train/good"], [("test/NG", "NG")], good=["test/OK"])
of_tree("train/good, test/good, test/unknown words", ["train/good"], [("test/Beule", "Beule")], good=["test/good"])
of_tree(
    "train/normal, test/normal, test/days of anomalies",
    ["train/normal"],
    [("test/anomaly/2026-11-20", "anomaly")],
    good=["test/normal/2026-11-20"],
)
of_tree(
    "train/good and test folders of unknown words",
    ["train/good"],
    [("test/romu", "romu")],
    good=["test/kelpo"],
    asked="test/kelpo",
    way="--good kelpo",
)
of_tree("train and test without labels", ["train"], [], spare=["test"], refused="no folder says", way="--good train")
of_tree("train only, with labels", ["train/ok"], [], spare=["train/ng"])
of_tree("a split in the name of the lot", ["lot_train_7/good"], [("lot_test_7/bad", "bad")], good=["lot_test_7/good"])

# unsure words
UNSURE = [
    ("positive", "negative"),
    ("Positive", "Negative"),
    ("pos", "neg"),
    ("0", "1"),
    ("true", "false"),
    ("class_0", "class_1"),
    ("yes", "no"),
    ("class0", "class1"),
    ("label_0", "label_1"),
]
for first, second in UNSURE:
    of_tree(f"`{first}`, `{second}`", [second], [(first, first)], refused="may mean good or defective")
    of_tree(
        f"`{first}`, `{second}` below train and test",
        [f"train/{second}"],
        [(f"test/{first}", first)],
        good=[f"test/{second}"],
        spare=[f"train/{first}"],
        refused="says|tells|may mean",
    )
of_tree("`A`, `B`", ["A", "B"], [], refused="may mean good or defective", way="--good .")
of_tree("`OK_NG`", ["OK_NG"], [], refused="may mean good or defective")

# products side by side
of_tree(
    "two products of OK and NG",
    ["bolt/OK", "nut/OK"],
    [("bolt/NG", "NG"), ("nut/NG", "NG")],
    refused="several products",
    way="bolt",
)
of_tree(
    "two lines of OK and NG, one model",
    ["bolt/OK", "nut/OK"],
    [("bolt/NG", "NG"), ("nut/NG", "NG")],
    refused="several products",
    way="--good OK",
)
of_tree(
    "two products in MVTec layout",
    ["bolt/train/good", "nut/train/good"],
    [("bolt/test/bad", "bad")],
    good=["nut/test/good"],
    refused="several products",
    way="bolt",
)
of_tree("two products of good folders alone", ["bolt/good", "nut/good"], [])
of_tree(
    "a product and its backup",
    ["nut/train/good", "nut - Kopie/train/good"],
    [("nut/test/bad", "bad"), ("nut - Kopie/test/bad", "bad")],
    refused="several products",
)

# words as products and places, with no defect in sight
PLAIN = [
    "cam1",
    "line 3",
    "2026-11-20",
    "Lot 4711",
    "shift B",
    "part_0001",
    "left",
    "right",
    "groundplate",
    "M8x20",
    "steel, 5 mm",
    "Gehäuse",
    "face masks",
    "bottle labels",
    "label printer",
    "Ω board",
    "rear.view",
    "part-No. 12",
    "0bad12f9",
    "DE_FG-77",
]
for word in PLAIN:
    of_tree(f"parts called `{word}`", [word], [])
    of_tree(f"parts called `{word}` beside `other`", [word, "other"], [])
for word in ("OK button", "pass card", "io board", "good year tyre", "IO-Link", "Normal 5 mm", "gut string"):
    of_tree(f"parts called `{word}`", [word], [])
    of_tree(
        f"parts called `{word}` beside `other`",
        [word, "other"],
        [],
        refused="nothing tells what is in other",
        way="--good .",
    )
for word in ("test tubes", "train wheels", "testing rig", "training shoes", "Test bench 2", "validation stamps"):
    of_tree(f"parts called `{word}`", [word], [], refused="is split", way=f"--good '{word}'")
    of_tree(f"parts called `{word}` beside `other`", [word, "other"], [], refused="is split", way="--good .")
for word in (
    "scratch card",
    "broken white",
    "hole plate",
    "perforated holes",
    "rust red paint",
    "bad weather jacket",
    "error proof plug",
):
    way = f"--good '{word}'"
    of_tree(
        f"parts called `{word}`", [word], [], refused="that is the name of good parts", asked="may be the name", way=way
    )
    of_tree(
        f"parts called `{word}` beside `other`", [word, "other"], [], refused="nothing tells", way=f"{way} --good other"
    )
of_tree("parts called `negative mould`", ["negative mould"], [], refused="may mean", way="--good 'negative mould'")
of_tree(
    "parts called `negative mould` beside `other`", ["negative mould", "other"], [], refused="may mean", way="--good ."
)
of_tree("parts called `mask_A`", ["mask_A"], [], refused="are masks", way="--good mask_A")
of_tree(
    "parts called `mask_A` beside `other`",
    ["mask_A", "other"],
    [],
    refused="are masks",
    way="--good mask_A --good other",
)
of_tree("cameras", ["cam 1", "cam 2", "cam 3"], [])
of_tree("days", list(DAYS), [])
of_tree("parts numbered 1..50", [str(number) for number in range(1, 51)], [])
of_tree("parts numbered 0..9", [str(number) for number in range(10)], [])
of_tree("images only", ["images"], [])
of_tree("nested neutral folders", ["export/2026/11/20/cam1", "export/2026/11/21/cam1"], [])
of_tree("left, right, top", ["left", "right", "top"], [])


@layout("flat")
def flat(made):
    made.learn("{:03}.jpg", 6)


@layout("one good folder alone")
def good_alone(made):
    made.learn("good/{:03}.jpg", 6)


@layout("defects alone", refused="defects alone")
def only_defects(made):
    made.bad("NG/{:03}.jpg", 4, kind="NG")


@layout("types of defects alone", refused="defects alone")
def only_types(made):
    made.bad("scratch/{:03}.jpg", 2, kind="scratch")
    made.bad("dent/{:03}.jpg", 2, kind="dent")


@layout("masks alone", refused="mask", way="move")
def only_masks(made):
    made.mask("ground_truth/{:03}.png", 4)


@layout("two-valued pictures alone: parts as silhouettes, or masks")
def only_masks_flat(made):
    for number in range(5):
        made.put(f"{number}.png", mask_picture(number))
    made.learned = {f"{number}.png" for number in range(5)}  # silhouettes, if the user says so


def mask_picture(number: int) -> np.ndarray:
    picture = np.zeros((ROWS, COLUMNS), np.uint8)
    cv2.circle(picture, (20 + number, 20), 8, 255, -1)
    return picture


@layout("nothing", refused="no images found")
def nothing(made):
    made.text("notes.doc", "x")


@layout("empty folders", refused="no images found")
def empty_folders(made):
    (made.root / "train" / "good").mkdir(parents=True)


# masks
NAMINGS = [
    "{:03}_mask.png",
    "{:03}_MASK.PNG",
    "{:03}-mask.png",
    "{:03}.mask.png",
    "{:03} mask.png",
    "mask_{:03}.png",
    "{:03}_gt.png",
    "{:03}_GT.bmp",
    "{:03}_label.bmp",
    "{:03}_seg.png",
    "{:03}_groundtruth.png",
    "{:03}_ground_truth.png",
    "{:03}_annotation.png",
    "{:03}(mask).png",
    "{:03}_masks.tif",
    "{:03}_maske.png",
    "{:03}_m.png",
    "{:03}_anno.png",
    "{:03}_Mask_1.png",
    "{:03}.png",
]
for naming in NAMINGS:

    @layout(f"a mask beside every image: `{naming}`")
    def beside(made, naming=naming):
        made.learn("{:03}.jpg", 4, masks=naming)
        made.bad("{:03}.jpg", 3, first=50, masks=naming)

    @layout(f"masks of defects alone beside them: `{naming}`", refused="masks|look like masks", way="move")
    def beside_some(made, naming=naming):
        made.learn("{:03}.jpg", 4)
        made.bad("{:03}.jpg", 3, first=50, masks=naming)

    @layout(f"good, defects and their masks in one folder: `{naming}`")
    def beside_labelled(made, naming=naming):
        made.learn("good/{:03}.jpg", 4)
        made.bad("bad/{:03}.jpg", 3, kind="bad", masks=f"bad/{naming}")


for folder in (
    "mask",
    "masks",
    "MASK",
    "GT",
    "gt",
    "Ground Truth",
    "ground-truth",
    "label",
    "labels",
    "Masken",
    "masques",
    "掩码",
    "マスク",
    "seg",
    "annotations",
    "lab",
):

    @layout(f"OK, NG and `{folder}`")
    def of_masks(made, folder=folder):
        made.learn("OK/{:03}.jpg", 4)
        made.bad("NG/{:03}.jpg", 3, first=50, kind="NG", masks=f"{folder}/{{:03}}.png")

    @layout(f"images and `{folder}`, all of them")
    def images_and(made, folder=folder):
        made.learn("images/{:03}.jpg", 4, masks=f"{folder}/{{:03}}.png")
        made.bad("images/{:03}.jpg", 3, first=50, masks=f"{folder}/{{:03}}.png")

    @layout(f"images and `{folder}` of the defects alone", refused="masks", way="move")
    def images_and_some(made, folder=folder):
        made.learn("images/{:03}.jpg", 4)
        made.bad("images/{:03}.jpg", 3, first=50, masks=f"{folder}/{{:03}}.png")


@layout("masks as JPEG")
def jpeg_masks(made):
    made.learn("train/good/{:03}.jpg", 4)
    made.good("test/good/{:03}.jpg", 3)
    made.bad("test/crack/{:03}.jpg", 3, kind="crack", masks="ground_truth/crack/{:03}.jpg")


@layout("masks as JPEG beside the images", refused="masks", way="move")
def jpeg_masks_beside(made):
    made.learn("{:03}.jpg", 4)
    made.bad("{:03}.jpg", 3, first=50, masks="{:03}_mask.jpg")


@layout("images and masks below train and test")
def split_masks(made):
    for split, first in (("train", 0), ("test", 50)):
        (made.learn if split == "train" else made.good)(
            f"{split}/images/{{:03}}.png", 3, first=first, masks=f"{split}/masks/{{:03}}.png"
        )
        if split == "train":
            made.spare("train/images/{:03}.png", 2, first=20, is_good=False, masks="train/masks/{:03}.png")
        else:
            made.bad("test/images/{:03}.png", 2, first=70, masks="test/masks/{:03}.png")


@layout("masks of the same names in a folder of any name")
def parallel(made):
    made.learn("photos/{:03}.jpg", 4, masks="drawn/{:03}.png")
    made.bad("photos/{:03}.jpg", 3, first=50, masks="drawn/{:03}.png")


@layout("good, bad and masks in a folder of any name")
def parallel_labelled(made):
    made.learn("good/{:03}.jpg", 4)
    made.bad("bad/{:03}.jpg", 3, first=50, kind="bad", masks="drawn/{:03}.png")


# names of files
for good, bad in (
    ("{}_OK.png", "{}_NG.png"),
    ("ok_{}.png", "ng_{}.png"),
    ("good-{}.png", "defect-{}.png"),
    ("正常_{}.png", "异常_{}.png"),
    ("{}.good.png", "{}.bad.png"),
    ("part{}_pass.png", "part{}_fail.png"),
    ("2026-11-20/{}_OK.png", "2026-11-21/{}_NG.png"),
):

    @layout(f"verdicts in names of files: `{good}`, `{bad}`")
    def named(made, good=good, bad=bad):
        made.learn(good, 4)
        made.bad(bad, 2)


@layout("verdicts in some names of files", refused="named as defects", way="move")
def named_some(made):
    made.spare("{:03}.png", 4)
    made.spare("{:03}_crack.png", 2, is_good=False)


@layout(
    "verdicts in some names of files of a split", refused="no folder says|is split|nothing says", way="--good train"
)
def named_split(made):
    made.learn("train/{:03}.png", 4)
    made.spare("train/{:03}_NG.png", 2, is_good=False)
    made.spare("test/{:03}.png", 2, is_good=False)


@layout("a good folder with files called defects")
def named_in_good(made):
    made.learn("good/{:03}.png", 4)
    made.spare("good/{:03}_NG.png", 2, is_good=False)
    made.bad("bad/{:03}.png", 2, kind="bad")


@layout("train/good with files called defects")
def named_in_train(made):
    made.learn("train/good/{:03}.png", 4)
    made.spare("train/good/defect_{:03}.png", 2, is_good=False)
    made.good("test/good/{:03}.png", 3)
    made.bad("test/crack/{:03}.png", 2, kind="crack")


@layout("parts whose name is a word of defects, in MVTec layout")
def named_product(made):
    made.learn("train/good/hole_plate_{:03}.png", 4)
    made.good("test/good/hole_plate_{:03}.png", 3)
    made.bad("test/crack/hole_plate_{:03}.png", 2, kind="crack")


@layout("names that are numbers in base 16")
def named_hash(made):
    for number in range(12):
        made.learn(f"{number:x}bad{number:x}f9def{number:x}c4.png", 1)


# looks
@layout("silhouettes as parts")
def silhouettes(made):
    for number in range(6):
        made.put(f"parts/{number}.png", mask_picture(number))
        made.learned.add(f"parts/{number}.png")


@layout("black frames among parts")
def black_frames(made):
    made.learn("{:03}.png", 5)
    made.put("black.png", np.zeros((ROWS, COLUMNS, 3), np.uint8))
    made.put("white.png", np.full((ROWS, COLUMNS, 3), 255, np.uint8))
    made.learned |= {"black.png", "white.png"}


# links
@layout("links to folders")
def links(made):
    made.learn("good/{:03}.png", 3)
    made.put("../elsewhere/a.png", b"")
    (made.root / "../elsewhere/a.png").unlink()
    inner = Made(made.root.parent / "elsewhere", count=10)
    inner.learn("{:03}.png", 3)
    inner.bad("../broken/{:03}.png", 2)
    (made.root / "good" / "cam2").symlink_to(made.root.parent / "elsewhere")
    (made.root / "NG").symlink_to(made.root.parent / "broken")
    made.learned |= {f"good/cam2/{number:03}.png" for number in range(3)}
    made.tested |= {f"NG/{number:03}.png": ("NG", frozenset()) for number in range(2)}


@layout("a loop of links")
def link_loop(made):
    made.learn("good/{:03}.png", 3)
    made.bad("bad/{:03}.png", 2, kind="bad")
    (made.root / "good" / "up").symlink_to(made.root)
    (made.root / "gone").symlink_to(made.root / "nowhere")


@layout("a link to a folder that is there already")
def link_twice(made):
    made.learn("good/{:03}.png", 3)
    made.bad("bad/{:03}.png", 2, kind="bad")
    (made.root / "also good").symlink_to(made.root / "bad")
