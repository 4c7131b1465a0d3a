"""Frames of video files, cameras and network streams, one image each, by OpenCV.

A file ends; what is live is opened again after it was lost, at growing intervals, and the loss is told once. Frames are
taken one by one when they are asked for, so the one who asks decides how many are kept.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from blemish.errors import ImageError
from blemish.images.by_opencv import quiet_opencv
from blemish.images.decode import array_to_rgb
from blemish.images.limits import Limits, check_pixels, refusal
from blemish.images.sources import ImageRef, failing

if TYPE_CHECKING:
    import cv2

VIDEO_SUFFIXES = frozenset(("avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm"))
_CAMERA = re.compile(r"camera:(\d{1,3})", re.IGNORECASE)
_NETWORK = re.compile(r"(?:rtsps?://|video:(?:rtsps?|https?)://)", re.IGNORECASE)
_PREFIX = re.compile(r"video:", re.IGNORECASE)
# What begins otherwise is refused: FFmpeg would take a playlist for a video too, and fetch what it names.
_CONTAINERS = re.compile(rb"RIFF....AVI |....ftyp|\x1aE\xdf\xa3|\0\0\x01[\xba\xb3]", re.DOTALL)
_OPEN_MS = _READ_MS = 5000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds
_MISSING = 0.05  # share of the frames that a file's header may have counted too many


def is_video(text: str) -> bool:
    """Whether a text names a video file, a camera or a network stream rather than an image."""
    return is_live(text) or bool(_PREFIX.match(text)) or _suffix(text) in VIDEO_SUFFIXES


def is_live(source: object) -> bool:
    """Whether this is a camera or a network stream, which has no end."""
    return isinstance(source, str) and bool(_CAMERA.fullmatch(source) or _NETWORK.match(source))


def video_frames(text: str, limits: Limits, stopped: threading.Event | None = None) -> Iterator[ImageRef]:
    """The frames of a video file, of `camera:N`, or of an RTSP or `video:http://` stream; `page_index` counts them.

    What cannot be opened, or turns out damaged, gives a reference whose `read` raises the one-line `ImageError`. A live
    source that was open once is opened again whenever it was lost, until `stopped` is set.
    """
    try:
        if is_live(text):
            yield from _live(text, limits, stopped or threading.Event())
        else:
            yield from _file(text, Path(_PREFIX.sub("", text, count=1)), limits)
    except ImageError as error:
        yield failing(text, _name(text), str(error).removeprefix(f"{text}: "))


def _file(text: str, path: Path, limits: Limits) -> Iterator[ImageRef]:
    import cv2

    _check_container(text, path)
    # absolute, since FFmpeg reads a protocol out of what stands before a colon
    with _opened(text, str(path.absolute()), cv2.CAP_FFMPEG, limits) as capture:
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        count = 0
        for ref in _frames(capture, text, 0):
            yield ref
            count += 1
    if not count:
        raise refusal(text, "is a damaged video: not one frame of it can be decoded")
    if count < expected * (1 - _MISSING) - 1:
        raise refusal(text, f"is damaged or cut short: {count} of {expected:.0f} frames could be decoded")


def _check_container(text: str, path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise refusal(text, "is not a regular file")  # a pipe would be waited for
        with path.open("rb") as file:
            start = file.read(12)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise refusal(text, f"cannot be read: {reason}") from error
    if not _CONTAINERS.match(start):
        raise refusal(text, "is not a video that can be read (AVI, MP4, MOV, MKV, WebM, MPEG)")


def _live(text: str, limits: Limits, stopped: threading.Event) -> Iterator[ImageRef]:
    """Frames, and one failure for each time that the source was lost; ends when it could not be opened at first."""
    _check_allowed(text, limits)
    count = 0
    pause = 0.0
    was_open = False
    while not stopped.wait(pause):
        try:
            with _opened(text, *_address(text), limits) as capture:
                was_open = True
                for ref in _frames(capture, text, count):
                    pause = 0.0
                    count += 1
                    yield ref
                    if stopped.is_set():
                        return
        except ImageError:
            if not was_open:
                raise
        if not pause:
            yield failing(text, _name(text), f"no more frames after {count}; trying to open it again")
        pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * pause))


def _check_allowed(text: str, limits: Limits) -> None:
    if not limits.allow_streams:
        raise refusal(text, "cameras and network streams are not allowed here")
    network = bool(_NETWORK.match(text))
    if network and not (limits.allow_urls and limits.allow_private_urls):
        raise refusal(text, "network streams are not allowed where URLs are restricted: their addresses go unchecked")


def _address(text: str) -> tuple[str | int, int]:
    """What OpenCV opens, and with which of its readers."""
    import cv2

    camera = _CAMERA.fullmatch(text)
    if camera:
        return int(camera[1]), cv2.CAP_ANY
    return _PREFIX.sub("", text, count=1), cv2.CAP_FFMPEG


@contextmanager
def _opened(text: str, address: str | int, reader: int, limits: Limits) -> Iterator[cv2.VideoCapture]:
    """An open capture whose frames are of an allowed size."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg would write to stderr by itself
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]
    with quiet_opencv():
        try:
            capture = cv2.VideoCapture(address, reader, timeouts if reader == cv2.CAP_FFMPEG else [])
        except cv2.error as error:
            raise refusal(text, "cannot be opened") from error
    try:
        if not capture.isOpened():
            raise refusal(text, _why_closed(text))
        if reader != cv2.CAP_FFMPEG:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the driver's own queue would age the frames
        width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        check_pixels(text, int(width), int(height), limits)
        yield capture
    finally:
        capture.release()


def _why_closed(text: str) -> str:
    if _CAMERA.fullmatch(text):
        return "no such camera, or another program uses it"
    if is_live(text):
        return "the stream cannot be opened: nobody answers there, or it is no video"
    return "is damaged, or in a format that OpenCV cannot read"


def _frames(capture: cv2.VideoCapture, text: str, first: int) -> Iterator[ImageRef]:
    """Frames until there are no more; an array that is never written to again."""
    import cv2

    name = PurePosixPath(_name(text))
    index = first
    while True:
        with quiet_opencv():
            try:
                there, image = capture.read()
            except cv2.error:
                return
        if not there:
            return
        yield ImageRef(text, index, name, partial(array_to_rgb, np.asarray(image), f"{text}[{index}]"))
        index += 1


def _name(text: str) -> str:
    """The name of the results' files: the file's own, or what stands for the camera."""
    if _CAMERA.fullmatch(text):
        return text.lower().replace(":", "_")
    if is_live(text):
        parts = urlsplit(_PREFIX.sub("", text, count=1))
        return re.sub(r"[^\w.-]", "_", f"{parts.hostname or 'stream'}{parts.path}")
    return Path(_PREFIX.sub("", text, count=1)).name or "video"


def _suffix(text: str) -> str:
    return PurePosixPath(text).suffix[1:].lower()
