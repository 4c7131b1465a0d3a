"""The package as it is installed: its public names, what importing it costs, what a wheel holds."""

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from command import ROOT

import blemish
from blemish.exporting.browser import runtime
from blemish.service.pages.vendored import LISTS

HEAVY = ("cv2", "matplotlib", "onnx", "onnxruntime", "PIL", "timm", "torch")
PUBLIC = [
    "BackboneError",
    "BlemishError",
    "DatasetError",
    "DeviceError",
    "ImageError",
    "ModelError",
    "PartResult",
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
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive of the sources, and the wheel that is built from that archive alone."""
    folder = tmp_path_factory.mktemp("dist")
    build("sdist", ROOT, folder)
    with tarfile.open(next(folder.glob("blemish-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    build("wheel", folder / f"blemish-{blemish.__version__}", folder)
    return folder


def build(kind: str, source: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("blemish-*-py3-none-any.whl"))


def test_a_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if name.startswith("blemish/")}
    files = [path for path in (ROOT / "blemish").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    assert package == {path.relative_to(ROOT).as_posix() for path in files}
    assert {"blemish/py.typed", "blemish/configs/pipelines/anomaly_detection.yaml"} <= package
    record = f"blemish-{blemish.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"blemish", record}
    assert {f"{record}/licenses/LICENSE", f"{record}/licenses/NOTICE", f"{record}/entry_points.txt"} <= set(names)


def test_git_has_all_that_a_wheel_holds():
    """What lies in this folder alone is missing in everybody else's."""
    if not (ROOT / ".git").exists():
        pytest.skip("an archive of the sources")
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "blemish"]
    ignored = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    assert not [name for name in ignored if "__pycache__" not in name]


def listed(stated: Path) -> dict[str, str]:
    """The SHA-256 of each file that a list of a package of npm names; after its name, its version and its SHA-512."""
    name, digest, *lines = stated.read_text("utf-8").splitlines()
    assert f"\n{name}\n" in (ROOT / "NOTICE").read_text("utf-8") and re.fullmatch(r"[0-9a-f]{128}", digest)
    return {Path(line.split()[1]).name: line.split()[0] for line in lines}


@pytest.mark.parametrize("stated", LISTS, ids=lambda stated: stated.name)
def test_files_of_the_pages_are_those_of_their_list(stated):
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in LISTS[stated].iterdir()}
    assert found == listed(stated) and "LICENSE" in found


def test_files_of_the_browser_export_are_those_of_their_list():
    found = {name: hashlib.sha256(content).hexdigest() for name, content in runtime.runtime_files().items()}
    assert found == listed(Path(runtime.__file__).parent / "runtime.txt")


def test_pages_ask_for_nothing_that_is_not_listed():
    """Of the files of others; ours are in the same folder."""
    asked = set()
    for path in (ROOT / "blemish" / "service" / "pages" / "templates").glob("*.j2"):
        asked |= set(re.findall(r"/static/(vendor\w*/[\w.-]+)", path.read_text("utf-8")))
    assert len(asked) == 3
    assert asked <= {f"{folder.name}/{name}" for stated, folder in LISTS.items() for name in listed(stated)}


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
