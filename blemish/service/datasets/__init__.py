"""The good images that the service may learn from: uploaded ones, and folders that its operator allows."""

from blemish.service.datasets.folders import Source, Sources
from blemish.service.datasets.uploaded import Taken, Uploaded

__all__ = ["Source", "Sources", "Taken", "Uploaded"]
