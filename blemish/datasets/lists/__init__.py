"""List files, as PaddleX and others have them: read and written."""
