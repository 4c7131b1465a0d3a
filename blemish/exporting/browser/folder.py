"""Writes the folder: the page, the runtime, the network, the colours, and the worker that keeps all for later."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from blemish.exporting.browser.runtime import runtime_files
from blemish.models import LoadedModel, describe_export
from blemish.pipeline.colours import colour_table, cover_table

PAGE = Path(__file__).parent / "page"
RUNTIME = "runtime"  # the sub-folder of onnxruntime-web
_KEEPER = "sw.js"  # the service worker; a template


def export_browser(model: LoadedModel, folder: Path, runtime: Path | None = None) -> Path:
    """`index.html`, its modules, onnxruntime-web, `model.onnx` and `model.json`: any web server can hand them out.

    `runtime` is a folder or the .tgz of onnxruntime-web, by default the one that the package holds. Raises
    `UsageError` where there is none.
    """
    files = {f"{RUNTIME}/{name}": content for name, content in runtime_files(runtime).items()}
    files |= {path.name: path.read_bytes() for path in sorted(PAGE.iterdir())}
    files |= {"model.onnx": model.model, "colours.json": _colours()}
    files[_KEEPER] = _keeper(files, model)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return describe_export(folder, model.info)


def _colours() -> bytes:
    """The scale of anomaly maps: RGB of its 256 steps, and how much of it covers the image."""
    return json.dumps({"table": colour_table().tolist(), "cover": cover_table().round(4).tolist()}).encode()


def _keeper(files: dict[str, bytes], model: LoadedModel) -> bytes:
    """The service worker, told what to keep and, by a hash over all of it, when to fetch anew."""
    digest = hashlib.sha256(model.info.model_dump_json().encode())
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    names = ["./", "model.json", *(name for name in sorted(files) if name not in ("index.html", _KEEPER))]
    version, kept = json.dumps(digest.hexdigest()[:16]), json.dumps(names)
    return files[_KEEPER].decode().replace("__VERSION__", version).replace("__FILES__", kept).encode()
