"""The package as it is installed: its public names, what importing it costs, what a wheel holds."""

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command import ROOT

import blemish
from blemish.exporting.browser.runtime import FILES as RUNTIME

HEAVY = ("cv2", "matplotlib", "onnx", "onnxruntime", "PIL", "timm", "torch")
PUBLIC = [
    "BackboneError",
    "BlemishError",
    "DatasetError",
    "DeviceError",
    "ImageError",
    "ModelError",
    "Result",
    "UsageError",
    "__version__",
    "create_model",
    "create_pipeline",
    "list_models",
]


def python(code: str, *arguments: str, cwd: Path = ROOT, path: Path = ROOT) -> str:
    """What a fresh interpreter prints; every warning is an error, and nothing may stand on stderr."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_public_names():
    assert sorted(blemish.__all__) == PUBLIC == sorted(dir(blemish))
    with pytest.raises(AttributeError, match="create_modle"):
        blemish.create_modle  # noqa: B018


def test_every_public_name_in_a_fresh_interpreter():
    code = "from blemish import *; import sys; print(*sorted(set(dir()) & set(sys.argv)))"
    assert python(code, *PUBLIC).split() == PUBLIC


def test_no_module_loads_a_heavy_library_or_warns():
    code = """
import importlib, pkgutil, sys
import blemish
from blemish.exporting.browser.runtime import FILES as RUNTIME
names = ["blemish", *(module.name for module in pkgutil.walk_packages(blemish.__path__, "blemish."))]
for name in names:
    importlib.import_module(name)
    loaded = sorted({module.partition(".")[0] for module in sys.modules} & set(sys.argv))
    if loaded:
        sys.exit(f"{name} loads {loaded}")
print(*names, sep="\\n")
"""
    imported = set(python(code, *HEAVY).split())
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "blemish").rglob("*.py")}
    assert imported == {".".join(file.parts).removesuffix(".__init__") for file in files}


def test_the_version_is_the_same_everywhere():
    assert importlib.metadata.version("blemish") == blemish.__version__
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## \[{re.escape(blemish.__version__)}\]", changes, re.MULTILINE)


def test_the_licence_and_the_weights_are_stated():
    from blemish.backbones import load_backbone

    licence, notice = ((ROOT / name).read_text("utf-8") for name in ("LICENSE", "NOTICE"))
    assert "Apache License" in licence and "APPENDIX: How to apply the Apache License" in licence
    backbone = load_backbone()
    assert backbone.sha256 in notice and backbone.licence in notice and "EfficientNet-Lite0" in notice


def test_constraints_pin_every_dependency_to_one_version():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for version in ("3.10", "3.11", "3.12", "3.13"):
        here = {"python_version": version, "python_full_version": f"{version}.5", "extra": ""}
        found = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(here)]
        chosen = {canonicalize_name(pin.name): pin.specifier for pin in found}
        assert len(chosen) == len(found)
        for text in importlib.metadata.requires("blemish"):
            wanted = Requirement(text)
            (exact,) = chosen[canonicalize_name(wanted.name)]
            assert exact.operator == "==" and wanted.specifier.contains(exact.version), (version, text)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this folder."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("blemish-*-py3-none-any.whl"))


def test_a_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if name.startswith("blemish/")}
    kinds = (".py", ".yaml", ".typed", ".j2", ".css", ".html", ".js", ".mjs", ".wasm", ".svg", ".txt")
    files = [path for path in (ROOT / "blemish").rglob("*") if path.suffix in kinds]
    assert package == {path.relative_to(ROOT).as_posix() for path in files}
    assert {f"blemish/exporting/browser/vendor/{name}" for name in RUNTIME} <= package
    assert {"blemish/py.typed", "blemish/configs/pipelines/anomaly_detection.yaml"} <= package
    record = f"blemish-{blemish.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"blemish", record}
    assert {f"{record}/licenses/LICENSE", f"{record}/licenses/NOTICE", f"{record}/entry_points.txt"} <= set(names)


def test_a_wheel_works_from_its_own_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = """
import blemish, sys
from blemish.cli import main
from blemish.config import load_config
print(blemish.__file__, load_config("PatchCore").Global.model, [card.name for card in blemish.list_models()])
sys.exit(main(["--help"]))
"""
    first, *text = python(code, cwd=tmp_path, path=tmp_path / "site").splitlines()
    assert first.startswith(str(tmp_path / "site")) and "PatchCore ['FastFlow', 'PatchCore'" in first
    assert any("quickstart" in line for line in text)
