"""What the benchmarks of one run share: images, fitted models, a place to write, how often to repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.images import as_bodies, as_jpeg, is_good, prepared
from benchmarks.process import fresh

# The speed of a network does not depend on its weights, so those that learn by gradient learn for a moment only.
QUICKLY = ("Train.epochs_iters=4", "Train.eval_interval=4")


@dataclass
class World:
    """`data` is a folder in MVTec layout; all that is made lies in `work`."""

    data: Path
    work: Path
    repeats: int = 5
    given_image: Path | None = None
    peers: Path = Path("/tmp/peers")
    notes: list[str] = field(default_factory=list)

    @cached_property
    def _prepared(self) -> tuple[Path, str]:
        return prepared(self.data, self.work)

    @property
    def png(self) -> Path:
        """The images as PNG of 900x900 pixels, in MVTec layout."""
        return self._prepared[0]

    @property
    def in_words(self) -> str:
        return self._prepared[1]

    @property
    def image(self) -> Path:
        """One PNG file of 900x900 pixels."""
        return self.given_image or min((self.png / "test").rglob("*.png"))

    def jpegs(self, count: int) -> Path:
        """A folder of JPEG files of 900x900 pixels, of good images and defects."""
        folder = self.work / f"jpeg{count}"
        return folder if folder.exists() else as_jpeg(sorted((self.png / "test").rglob("*.png")), folder, count)

    def bodies(self, count: int, first: int) -> Path:
        """A folder of JPEG files of 512x512 pixels, one in ten with a defect; no two of one number are equal."""
        folder = self.work / f"bodies{first}-{count}"
        if not folder.exists():
            test = sorted((self.png / "test").rglob("*.png"))
            good = [*sorted((self.png / "train" / "good").iterdir()), *(path for path in test if is_good(path))]
            as_bodies(good, [path for path in test if not is_good(path)], folder, first, count)
        return folder

    def model(self, detector: str = "PatchCore", *overrides: str) -> Path:
        """The output folder of a fit on these images; one that learns by gradient stops early."""
        name = "-".join([detector, *(override.replace("=", "-") for override in overrides)])
        folder = self.work / "models" / name
        if not (folder / "train_result.json").exists():
            quickly = QUICKLY if detector in learning_detectors() else ()
            fresh(1, fit_quietly, detector, self.png, folder, (*quickly, *overrides))
        return folder

    def note(self, text: str) -> None:
        """Say in the run's file what a reader must know."""
        if text not in self.notes:
            self.notes.append(text)


def learning_detectors() -> list[str]:
    """Names of the detectors that learn by gradient."""
    from blemish.detectors import list_models

    return [card.name for card in list_models() if card.requires == "train"]


def fit_quietly(detector: str, data: Path, output: Path, overrides: tuple[str, ...]) -> None:
    from blemish.config import load_config
    from blemish.fitting import fit

    paths = f"Global.dataset_dir={data}", f"Global.output={output}", "Global.device=cpu"
    fit(load_config(detector, [*paths, *overrides]))
