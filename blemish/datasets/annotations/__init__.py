"""Annotations of other tools: which tool wrote a file, what it says of which image, and a reader for each."""
