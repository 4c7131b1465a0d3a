"""The pages for people. Each further page is a module here with a template in `templates/`."""

from blemish.service.pages.home import router

__all__ = ["router"]
