"""The HTTP service: models behind a socket, with bounded memory, tokens and a place for the station's pages."""

from blemish.service.app import create_app
from blemish.service.server import serve
from blemish.service.settings import ModelSource, Settings, SinkSettings

__all__ = ["ModelSource", "Settings", "SinkSettings", "create_app", "serve"]
