"""From a model folder to what another runtime takes; each format is one function in `FORMATS`."""

from blemish.exporting.export import FORMATS, export_model

__all__ = ["FORMATS", "export_model"]
