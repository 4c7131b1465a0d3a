"""A model as a static folder that runs it in a web page, without a server that computes."""

from blemish.exporting.browser.folder import export_browser

__all__ = ["export_browser"]
