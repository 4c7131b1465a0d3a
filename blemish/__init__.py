"""Blemish learns what good parts look like from good images alone and finds what is anomalous in new ones."""

__version__ = "0.1.0"
