"""Published data sets, laid out as they come."""

from __future__ import annotations

import json

import numpy as np
from made_layouts import Made, drawn, layout

READABLE = ("readme.txt", "license.txt")


def mvtec(made: Made, at: str = "", kinds: tuple[str, ...] = ("broken_large", "contamination"), mask: str = "_mask"):
    made.learn(at + "train/good/{:03}.png", 5)
    made.good(at + "test/good/{:03}.png", 3)
    for kind in kinds:
        made.bad(at + f"test/{kind}/{{:03}}.png", kind=kind, masks=at + f"ground_truth/{kind}/{{:03}}{mask}.png")


@layout("MVTec AD, product")
def mvtec_ad(made):
    mvtec(made)
    for name in READABLE:
        made.text(name, "MVTec AD is free for non-commercial use.\n1 2 3\n")


@layout("MVTec AD, a copy of a Mac and of Windows")
def mvtec_copy(made):
    mvtec_ad(made)
    for folder in ("", "train/", "train/good/", "test/good/"):
        made.text(f"{folder}.DS_Store", "Bud1")
        made.text(f"{folder}Thumbs.db", "x")
        made.put(f"{folder}._000.png", b"resource fork")
    made.put("__MACOSX/train/good/._000.png", b"resource fork")
    made.put("__MACOSX/train/good/000.png", drawn("good", 1))


@layout("MVTec AD, root", refused=r"several products \(bottle, cable\)", way="bottle")
def mvtec_root(made):
    for product in ("bottle", "cable"):
        mvtec(made, f"{product}/")
    made.text("license.txt", "CC BY-NC-SA 4.0")


@layout("MVTec LOCO")
def loco(made):
    made.learn("train/good/{:03}.png", 5)
    made.spare("validation/good/{:03}.png", 2)
    made.good("test/good/{:03}.png", 3)
    for kind in ("logical_anomalies", "structural_anomalies"):
        folder = f"ground_truth/{kind}/{{:03}}"
        made.bad(f"test/{kind}/{{:03}}.png", 3, kind=kind, masks=(f"{folder}/000.png", f"{folder}/001.png"))
    made.text(
        "defects_config.json", json.dumps([{"defect_name": "bent", "pixel_value": 255, "relative_saturation": True}])
    )


@layout("MVTec AD 2")
def ad2(made):
    made.learn("train/good/{:03}_regular.png", 5)
    made.spare("validation/good/{:03}_regular.png", 2)
    made.good("test_public/good/{:03}_regular.png", 3)
    made.bad(
        "test_public/bad/{:03}_shift_1.png", 3, kind="bad", masks="test_public/ground_truth/bad/{:03}_shift_1_mask.png"
    )
    made.spare("test_private/{:03}.png", 3, is_good=False)
    made.spare("test_private_mixed/{:03}_mixed.png", 3, is_good=False)


@layout("MVTec 3D-AD")
def ad3d(made):
    made.learn("train/good/rgb/{:03}.png", 5)
    made.spare("validation/good/rgb/{:03}.png", 2)
    made.good("test/good/rgb/{:03}.png", 3, masks="test/good/gt/{:03}.png")
    for kind in ("hole", "combined"):
        made.bad(f"test/{kind}/rgb/{{:03}}.png", kind=kind, masks=f"test/{kind}/gt/{{:03}}.png")
    for folder, many in (
        ("train/good", 5),
        ("validation/good", 2),
        ("test/good", 3),
        ("test/hole", 2),
        ("test/combined", 2),
    ):
        for number in range(many):
            depth = np.random.default_rng(number).integers(0, 255, (40, 48, 3), np.uint8)
            made.put(f"{folder}/xyz/{number:03}.tiff", depth)
            made.left.add(f"{folder}/xyz/{number:03}.tiff")
    made.text("calibration/camera_parameters.json", '{"width": 800, "height": 800}')


@layout("MVTec 3D-AD, root", refused="several products", way="bagel")
def ad3d_root(made):
    for product in ("bagel", "cookie"):
        inner = Made(made.root / product)
        ad3d(inner)
        merge(made, inner, product)


def merge(made: Made, inner: Made, at: str) -> None:
    made.learned |= {f"{at}/{name}" for name in inner.learned}
    made.left |= {f"{at}/{name}" for name in inner.left}
    for name, (kind, masks) in inner.tested.items():
        made.tested[f"{at}/{name}"] = (kind, frozenset(f"{at}/{mask}" for mask in masks))


@layout("Eyecandies", refused="nothing says|no folder says", way="--good train")
def eyecandies(made):
    made.learn("train/data/{:03}_image_0.png", 5)
    for number in range(5):
        for sort in ("depth", "normals"):
            name = f"train/data/{number:03}_{sort}.png"
            made.put(name, np.random.default_rng(number).integers(0, 255, (40, 48, 3), np.uint8))
            made.left.add(name)
        made.text(f"train/data/{number:03}_metadata.yaml", "anomalous: 0\n")
    made.bad("test_public/data/{:03}_image_0.png", 3, masks="test_public/data/{:03}_mask.png")
    made.good("test_public/data/{:03}_image_0.png", 3, masks="test_public/data/{:03}_mask.png", first=3)


def visa(made: Made, at: str = "", *, split: bool = False) -> None:
    images = at + "Data/Images/"
    made.learn(images + "Normal/{:04}.JPG", 6)
    (made.good if split else made.learn)(images + "Normal/{:04}.JPG", 3, first=6)
    made.bad(images + "Anomaly/{:03}.JPG", 4, kind="Anomaly", masks=at + "Data/Masks/Anomaly/{:03}.png")


def visa_rows(product: str, at: str = "") -> list[tuple[str, str, str, str]]:
    rows = []
    for number in range(9):
        split = "train" if number < 6 else "test"
        rows.append((split, "normal", f"{product}/Data/Images/Normal/{number:04}.JPG", ""))
    for number in range(4):
        image = f"{product}/Data/Images/Anomaly/{number:03}.JPG"
        rows.append(("test", "anomaly", image, f"{product}/Data/Masks/Anomaly/{number:03}.png"))
    return rows


def visa_annotations(product: str) -> str:
    labels = {"normal": "normal", "anomaly": "bent,chipped"}
    rows = [f'{image},"{labels[label]}",{mask}' for _, label, image, mask in visa_rows(product)]
    return "image,label,mask\n" + "\n".join(rows) + "\n"


def visa_split(*products: str) -> str:
    rows = [f"{product},{','.join(row)}" for product in products for row in visa_rows(product)]
    return "object,split,label,image,mask\n" + "\n".join(rows) + "\n"


@layout("VisA as published, product alone")
def visa_product(made):
    visa(made)
    made.text("image_anno.csv", visa_annotations("set"))


@layout("VisA as published, product with split_csv beside it")
def visa_product_split(made):
    visa(made, split=True)
    made.text("image_anno.csv", visa_annotations("set"))
    made.text("../split_csv/1cls.csv", visa_split("candle", "set"))


@layout("VisA as published, root", refused="several products", way="candle")
def visa_root(made):
    for product in ("candle", "pcb1"):
        visa(made, f"{product}/", split=True)
        made.text(f"{product}/image_anno.csv", visa_annotations(product))
    made.text("split_csv/1cls.csv", visa_split("candle", "pcb1"))
    made.text("split_csv/2cls_highshot.csv", visa_split("candle", "pcb1"))
    made.text("LICENSE-DATASET", "CC BY 4.0")


@layout("VisA, Data folder")
def visa_data(made):
    made.learn("Images/Normal/{:04}.JPG", 6)
    made.bad("Images/Anomaly/{:03}.JPG", 4, kind="Anomaly", masks="Masks/Anomaly/{:03}.png")


@layout("VisA prepared, 1cls")
def visa_prepared(made):
    made.learn("train/good/{:04}.JPG", 5)
    made.good("test/good/{:04}.JPG", 3, first=5)
    made.bad("test/bad/{:03}.JPG", 3, kind="bad", masks="ground_truth/bad/{:03}.png")


def btad(made: Made, at: str = "", image: str = "bmp", mask: str = "png") -> None:
    made.learn(at + f"train/ok/{{:04}}.{image}", 5)
    made.good(at + f"test/ok/{{:04}}.{image}", 3)
    made.bad(at + f"test/ko/{{:04}}.{image}", 3, kind="ko", masks=at + f"ground_truth/ko/{{:04}}.{mask}")


@layout("BTAD, product 01")
def btad_01(made):
    btad(made)


@layout("BTAD, product 03, masks as BMP")
def btad_03(made):
    btad(made, mask="bmp")


@layout("BTAD, root", refused="several products", way="01")
def btad_root(made):
    btad(made, "01/")
    btad(made, "02/", "png")


@layout("MPDD")
def mpdd(made):
    mvtec(made, kinds=("bend_and_parts_mismatch", "parts_mismatch"))


@layout("MPDD, root", refused="several products", way="bracket_black")
def mpdd_root(made):
    mvtec(made, "bracket_black/", ("hole", "scratches"))
    mvtec(made, "metal_plate/", ("major_rust", "scratches"))


@layout("GoodsAD")
def goodsad(made):
    made.learn("train/good/000{:03}.jpg", 5)
    made.good("test/good/000{:03}.jpg", 3, first=20)
    made.bad("test/opened/000{:03}.jpg", kind="opened", masks="ground_truth/opened/000{:03}.png")


@layout("GoodsAD, root", refused="several products", way="cigarette_box")
def goodsad_root(made):
    mvtec(made, "cigarette_box/", ("opened",), mask="")
    mvtec(made, "food_box/", ("deformation",), mask="")


@layout("DTD-Synthetic")
def dtd(made):
    mvtec(made, kinds=("bad",))


@layout("MAD-Sim")
def mad(made):
    made.learn("train/good/{}.png", 5)
    made.good("test/good/{}.png", 3)
    for kind in ("Burrs", "Missing", "Stains"):
        made.bad(f"test/{kind}/{{}}.png", kind=kind, masks=f"ground_truth/{kind}/{{}}.png")
    made.text("transforms.json", '{"frames": []}')


@layout("BMAD")
def bmad(made):
    made.learn("train/good/{}.png", 5)
    made.spare("valid/good/img/{}.png", 2, masks="valid/good/label/{}.png")
    made.spare("valid/Ungood/img/{}.png", 2, is_good=False, masks="valid/Ungood/label/{}.png")
    made.good("test/good/img/{}.png", 3, masks="test/good/label/{}.png")
    made.bad("test/Ungood/img/{}.png", 3, kind="Ungood", masks="test/Ungood/label/{}.png")


@layout("AeBAD-S")
def aebad(made):
    for number, view in enumerate(("background", "illumination", "same")):
        made.learn(f"train/good/{view}/IMG_{{:04}}.png", 2, first=10 * number)
        made.good(f"test/good/{view}/IMG_{{:04}}.png", 2, first=100 + 10 * number)
        for kind in ("ablation", "breakdown"):
            made.bad(
                f"test/{kind}/{view}/IMG_{{:04}}.png", kind=kind, masks=f"ground_truth/{kind}/{view}/IMG_{{:04}}.png"
            )


@layout("InsPLAD, unsupervised")
def insplad(made):
    made.learn("train/good/{:04}.jpg", 4)
    made.good("test/good/{:04}.jpg", 2, first=50)
    made.bad("test/missing-cap/{:04}.jpg", kind="missing-cap")
    made.bad("test/rust/{:04}.jpg", kind="rust")


@layout("VAD")
def vad(made):
    made.learn("train/good/{}.png", 4)
    made.spare("train/bad/{}.png", 2, is_good=False)
    made.good("test/good/{}.png", 3)
    made.bad("test/bad/{}.png", 3, kind="bad")


def real_iad(made: Made, at: str = "", *, split: bool = False, defects: tuple[str, ...] = ("AK", "HS")) -> None:
    for sample in range(1, 7):
        name = f"{at}OK/S{sample:04}/audiojack_{sample:04}_OK_C{{}}_20231020.jpg"
        (made.good if split and sample > 4 else made.learn)(name, 2, first=1)
    for sample, kind in enumerate(defects, 11):
        stem = f"{at}NG/{kind}/S{sample:04}/audiojack_{sample:04}_NG_{kind}_C{{}}_20231020"
        made.bad(f"{stem}.jpg", 2, kind=kind, first=1, masks=f"{stem}.png")


def real_iad_json(defects: tuple[str, ...] = ("AK", "HS")) -> str:
    train = [
        {"category": "audiojack", "anomaly_class": "OK", "image_path": path, "mask_path": None}
        for sample in range(1, 7)
        for camera in (1, 2)
        for path in [f"OK/S{sample:04}/audiojack_{sample:04}_OK_C{camera}_20231020.jpg"]
    ]
    test = []
    for sample, kind in enumerate(defects, 11):
        for camera in (1, 2):
            stem = f"NG/{kind}/S{sample:04}/audiojack_{sample:04}_NG_{kind}_C{camera}_20231020"
            test.append(
                {
                    "category": "audiojack",
                    "anomaly_class": kind,
                    "image_path": f"{stem}.jpg",
                    "mask_path": f"{stem}.png",
                }
            )
    meta = {"prefix": "audiojack/", "normal_class": "OK", "pre_transform": ["center_crop", 1024]}
    return json.dumps({"meta": meta, "train": train[:8], "test": train[8:] + test})


@layout("Real-IAD, product alone")
def real_iad_product(made):
    real_iad(made)


@layout("Real-IAD, product with its JSON beside it")
def real_iad_split(made):
    real_iad(made, split=True)
    made.text("../set.json", real_iad_json())


@layout("Real-IAD, product with realiad_jsons above")
def real_iad_above(made):
    real_iad(made, split=True)
    made.text("../../realiad_jsons/realiad_jsons/set.json", real_iad_json())
    made.text("../../realiad_jsons/realiad_jsons_sv/set.json", real_iad_json())


@layout("Real-IAD, realiad_256", refused="several products", way="audiojack")
def real_iad_256(made):
    real_iad(made, "audiojack/")
    real_iad(made, "button_battery/")


@layout("Real-IAD, root of one product and its JSON")
def real_iad_root_one(made):
    real_iad(made, "realiad_256/audiojack/", split=True)
    made.text("realiad_jsons/audiojack.json", real_iad_json())


@layout("Real-IAD, root", refused="several products", way="realiad_256/audiojack")
def real_iad_root(made):
    for product in ("audiojack", "button_battery"):
        real_iad(made, f"realiad_256/{product}/", split=True)
        made.text(f"realiad_jsons/{product}.json", real_iad_json().replace('"audiojack/"', f'"{product}/"'))


def casting(made: Made, at: str = "") -> None:
    made.learn(at + "train/ok_front/cast_ok_0_{}.jpeg", 5)
    made.spare(at + "train/def_front/cast_def_0_{}.jpeg", 3, is_good=False)
    made.good(at + "test/ok_front/cast_ok_0_{}.jpeg", 3, first=50)
    made.bad(at + "test/def_front/cast_def_0_{}.jpeg", 3, kind="def_front", first=50)


@layout("Casting, casting_data")
def casting_data(made):
    casting(made)


@layout("Casting, root as Kaggle packs it")
def casting_root(made):
    casting(made, "casting_data/casting_data/")
    made.spare("casting_512x512/casting_512x512/ok_front/cast_ok_0_{}.jpeg", 3)
    made.spare("casting_512x512/casting_512x512/def_front/cast_def_0_{}.jpeg", 3, is_good=False)


@layout("Casting, casting_512x512")
def casting_512(made):
    made.learn("casting_512x512/ok_front/cast_ok_0_{}.jpeg", 3)
    made.bad("casting_512x512/def_front/cast_def_0_{}.jpeg", 3, kind="def_front")


@layout("Casting, train alone")
def casting_train(made):
    made.learn("ok_front/cast_ok_0_{}.jpeg", 5)
    made.bad("def_front/cast_def_0_{}.jpeg", 3, kind="def_front")


@layout("KolektorSDD")
def ksdd(made):
    for item in range(1, 5):
        made.learn(f"kos{item:02}/Part{{}}.jpg", 3, masks=f"kos{item:02}/Part{{}}_label.bmp")
        made.bad(f"kos{item:02}/Part{{}}.jpg", 1, first=3, masks=f"kos{item:02}/Part{{}}_label.bmp")


@layout("KolektorSDD2")
def ksdd2(made):
    made.learn("train/1{:04}.png", 5, masks="train/1{:04}_GT.png")
    made.spare("train/1{:04}.png", 3, first=100, is_good=False, masks="train/1{:04}_GT.png")
    made.good("test/2{:04}.png", 4, masks="test/2{:04}_GT.png")
    made.bad("test/2{:04}.png", 3, first=100, masks="test/2{:04}_GT.png")
    made.put("split_weakly_0.pyb", b"\x80\x03]q")


@layout("KolektorSDD2, train alone")
def ksdd2_train(made):
    made.learn("1{:04}.png", 5, masks="1{:04}_GT.png")
    made.bad("1{:04}.png", 3, first=100, masks="1{:04}_GT.png")


def dagm(made: Made, at: str = "", *, whole_list: bool = True) -> None:
    for part, first in (("Train", 576), ("Test", 1)):
        write = made.learn if part == "Train" else made.good
        write(f"{at}{part}/{{:04}}.PNG", 5, first=first)
        pattern, masks = f"{at}{part}/{{:04}}.PNG", f"{at}{part}/Label/{{:04}}_label.PNG"
        if part == "Train":
            made.spare(pattern, 2, first=first + 5, is_good=False, masks=masks)
        else:
            made.bad(pattern, 2, first=first + 5, masks=masks)
        lines = [f"{number}\t0\t{number:04}.PNG\t0\t0" for number in range(first, first + 5)] * whole_list
        lines += [f"{number}\t1\t{number:04}.PNG\t1\t{number:04}_label.PNG" for number in (first + 5, first + 6)]
        made.text(f"{at}{part}/Label/Labels.txt", "1\n" + "\n".join(lines) + "\n")


@layout("DAGM, Class1")
def dagm_class(made):
    dagm(made)


@layout("DAGM, Class1, a Labels.txt of the defects alone", refused="DAGM", way="move")
def dagm_defects(made):
    dagm(made, whole_list=False)


@layout("DAGM, root", refused="several products", way="Class1")
def dagm_root(made):
    dagm(made, "Class1/")
    dagm(made, "Class2/")


@layout("AITEX")
def aitex(made):
    made.learn("NODefect_images/2306881-210020u/{:04}_000_05.png", 3)
    made.learn("NODefect_images/2608691-202020u/{:04}_000_01.png", 3, first=20)
    made.bad("Defect_images/{:04}_002_00.png", 3, kind="Defect_images", masks="Mask_images/{:04}_002_00_mask.png")
    made.bad(
        "Defect_images/{:04}_019_02.png",
        1,
        first=44,
        kind="Defect_images",
        masks=("Mask_images/{:04}_019_02_mask1.png", "Mask_images/{:04}_019_02_mask2.png"),
    )


@layout("Magnetic tile")
def magnetic_tile(made):
    made.learn("MT_Free/Imgs/exp1_num_{}.jpg", 5, masks="MT_Free/Imgs/exp1_num_{}.png")
    for first, kind in enumerate(("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven"), 1):
        pattern = f"{kind}/Imgs/exp1_num_{{}}"
        made.bad(f"{pattern}.jpg", first=100 * first, kind=kind, masks=f"{pattern}.png")
    made.text("README.md", "# Magnetic-tile-defect-datasets.")


@layout("anomalib hazelnut_toy")
def hazelnut_toy(made):
    made.learn("good/{:02}.jpg", 6)
    for kind in ("crack", "colour"):
        made.bad(f"{kind}/{{:02}}.jpg", kind=kind, masks=f"mask/{kind}/{{:02}}.jpg")


@layout("anomalib Folder: normal, abnormal, ground_truth")
def folder_normal(made):
    made.learn("normal/{:03}.png", 5)
    made.bad("abnormal/{:03}.png", 3, kind="abnormal", masks="ground_truth/{:03}.png")


@layout("anomalib Folder: normal_dir, abnormal_dir, normal_test_dir, mask_dir")
def folder_dirs(made):
    made.learn("normal_dir/{:03}.png", 5)
    made.bad("abnormal_dir/{:03}.png", 3, kind="abnormal_dir", masks="mask_dir/{:03}.png")


@layout("Lookout for Vision, circuit board")
def circuit_board(made):
    made.learn("train/normal/train-normal_{}.jpg", 5)
    made.spare("train/anomaly/train-anomaly_{}.jpg", 2, is_good=False)
    made.good("test/normal/test-normal_{}.jpg", 3)
    made.bad("test/anomaly/test-anomaly_{}.jpg", 3, kind="anomaly")


@layout("Lookout for Vision, aliens")
def aliens(made):
    made.learn("normal/{}.jpg", 5)
    made.bad("anomaly/{}.jpg", 3, kind="anomaly")


@layout("Lookout for Vision, cookies")
def cookies(made):
    made.learn("training-images/normal-{}.jpg", 4, first=1)
    made.spare("training-images/anomaly-{}.jpg", 3, first=1, is_good=False, masks="mask-images/anomaly-{}.png")
    lines = [cookie(f"normal-{number}", 0) for number in range(1, 5)]
    lines += [cookie(f"anomaly-{number}", 1) for number in range(1, 4)]
    made.text("manifests/train.manifest", "\n".join(lines) + "\n")


def cookie(stem: str, label: int) -> str:
    said = {
        "confidence": 1,
        "class-name": "anomaly" if label else "normal",
        "human-annotated": "yes",
        "type": "groundtruth/image-classification",
    }
    return json.dumps(
        {
            "source-ref": f"s3://bucket/training-images/{stem}.jpg",
            "anomaly-label": label,
            "anomaly-label-metadata": said,
        }
    )


VOC = (
    "<annotation><filename>{0}.jpg</filename>"
    "<size><width>48</width><height>40</height><depth>3</depth></size>{1}</annotation>"
)
BOX = "<object><name>crazing</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>"


@layout("NEU-DET", refused="Pascal VOC", way="--from voc")
def neu_det(made):
    for kind in ("crazing", "inclusion", "patches"):
        made.spare(f"IMAGES/{kind}_{{}}.jpg", 3, first=1, is_good=False)
        for number in range(1, 4):
            made.text(f"ANNOTATIONS/{kind}_{number}.xml", VOC.format(f"{kind}_{number}", BOX))


@layout("NEU-DET of Kaggle", refused="Pascal VOC", way="--from voc")
def neu_det_kaggle(made):
    for split in ("train", "validation"):
        for kind in ("crazing", "inclusion", "scratches"):
            made.spare(f"{split}/images/{kind}/{kind}_{{}}.jpg", 2, is_good=False)
            for number in range(2):
                made.text(f"{split}/annotations/{kind}_{number}.xml", VOC.format(f"{kind}_{number}", BOX))


@layout("HRIPCB", refused="Pascal VOC", way="--from voc")
def hripcb(made):
    for kind in ("Missing_hole", "Mouse_bite", "Short"):
        made.spare(f"images/{kind}/01_{kind.lower()}_{{:02}}.jpg", 2, is_good=False)
        made.spare(f"rotation/{kind}_rotation/01_{kind.lower()}_{{:02}}.jpg", 2, is_good=False)
        made.text(f"rotation/{kind}_angles.txt", f"01_{kind.lower()}_00 79\n")
        for number in range(2):
            stem = f"01_{kind.lower()}_{number:02}"
            made.text(f"Annotations/{kind}/{stem}.xml", VOC.format(stem, BOX))
    made.spare("PCB_USED/{:02}.JPG", 2, first=1)


@layout("GC10-DET", refused="Pascal VOC", way="--from voc")
def gc10(made):
    for kind in range(1, 5):
        made.spare(f"{kind}/img_{kind:02}_{{}}.jpg", 2, is_good=False)
        for number in range(2):
            made.text(f"lable/img_{kind:02}_{number}.xml", VOC.format(f"img_{kind:02}_{number}", BOX))


@layout("Severstal", refused="table", way="move")
def severstal(made):
    made.spare("train_images/{:09x}.jpg", 4)
    made.spare("train_images/{:09x}.jpg", 3, first=50, is_good=False)
    made.spare("test_images/{:09x}.jpg", 3, first=90, is_good=False)
    rows = [f"{number:09x}.jpg,3,29102 12 29346 24" for number in (50, 51, 52)]
    made.text("train.csv", "ImageId,ClassId,EncodedPixels\n" + "\n".join(rows) + "\n")
    made.text("sample_submission.csv", "ImageId,EncodedPixels,ClassId\n00000005a.jpg,1 1,1\n")


@layout("DeepPCB", refused="boxes", way="move")
def deep_pcb(made):
    for number in range(4):
        stem = f"group00041/00041/0004100{number}"
        made.spare(f"{stem}_temp.jpg", 1)
        made.spare(f"{stem}_test.jpg", 1, is_good=False)
        made.text(f"group00041/00041_not/0004100{number}.txt", "466 441 493 470 3\n454 300 493 396 2\n")
    made.text("trainval.txt", "group00041/00041/00041000.jpg group00041/00041_not/00041000.txt\n")


@layout("wafer maps (WM-811K as folders)", refused="nothing tells", way="--good none")
def wafer(made):
    made.learn("none/{}.png", 5)
    for kind in ("Center", "Donut", "Edge-Loc", "Scratch"):
        made.bad(f"{kind}/{{}}.png", kind=kind)


@layout("Concrete crack images (Positive, Negative)", refused="may mean good or defective", way="--good Negative")
def concrete(made):
    made.learn("Negative/{:05}.jpg", 5)
    made.bad("Positive/{:05}_1.jpg", 3, kind="Positive")


@layout("NanoTWICE")
def nano(made):
    made.learn("Normal/ITIA11{:02}.tif", 3)
    made.bad("Anomalous/images/ITIA10{:02}.tif", 3, kind="Anomalous", masks="Anomalous/gt/ITIA10{:02}_gt.png")


@layout("Rail surface (RSDDs)", refused="defects alone")
def rsdds(made):
    made.bad("Rail surface images/rail_{}.jpg", 4, first=1, masks="GroundTruth/rail_{}.jpg")


@layout("DeepCrack", refused="no folder says|nothing says|defects alone")
def deep_crack(made):
    made.spare("train_img/{}.jpg", 3, is_good=False, masks="train_lab/{}.png")
    made.bad("test_img/{}.jpg", 3, first=20, masks="test_lab/{}.png")


@layout("Aluminium profiles (Tianchi)")
def aluminium(made):
    made.learn("无瑕疵样本/{}.jpg", 5)
    for kind in ("擦花", "漏底"):
        made.bad(f"瑕疵样本/{kind}/{{}}.jpg", kind=kind)


@layout("ELPV: a table without a header", refused="table", way="move")
def elpv(made):
    made.spare("images/cell{:04}.png", 4)
    made.spare("images/cell{:04}.png", 3, first=4, is_good=False)
    rows = [f"images/cell{number:04}.png   {0.0 if number < 4 else 1.0}   mono" for number in range(7)]
    made.text("labels.csv", "\n".join(rows) + "\n")


@layout("Head CT: a table of numbers", refused="table", way="move")
def head_ct(made):
    made.spare("head_ct/{:03}.png", 4)
    made.spare("head_ct/{:03}.png", 3, first=4, is_good=False)
    made.text("labels.csv", "id, hemorrhage\n" + "\n".join(f"{number},{int(number > 3)}" for number in range(7)) + "\n")


@layout("OCT: NORMAL beside names of illnesses")
def oct2017(made):
    made.learn("train/NORMAL/NORMAL-{}-1.jpeg", 4)
    for kind in ("CNV", "DME"):
        made.spare(f"train/{kind}/{kind}-{{}}-1.jpeg", 2, is_good=False)
        made.bad(f"test/{kind}/{kind}-{{}}-1.jpeg", kind=kind, first=50)
    made.good("test/NORMAL/NORMAL-{}-1.jpeg", 3, first=50)


@layout("Leather: non defective beside names of defects", refused="nothing tells", way="--good 'non defective'")
def leather(made):
    made.learn("non defective/{}.jpg", 4)
    for kind in ("Folding marks", "Grain off", "pinhole"):
        made.bad(f"{kind}/{{}}.jpg", kind=kind)


@layout("Defect Spectrum")
def spectrum(made):
    made.learn("image/good/{:03}.png", 4, masks="mask/good/{:03}_mask.png")
    for kind in ("broken_large", "contamination"):
        made.bad(f"image/{kind}/{{:03}}.png", kind=kind, masks=f"mask/{kind}/{{:03}}_mask.png")


@layout("Datumaro's mvtec sample (default for train)")
def datumaro(made):
    made.learn("default/good/{}.png", 4)
    made.bad("default/label_0/{}.png", 2, kind="defect", masks="ground_truth/label_0/{}_mask.png")
