"""Videos: real files by OpenCV's writer, and a real server of MJPEG over HTTP that goes away and returns."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.images import Limits, expand
from blemish.images import video as video_module
from blemish.images.video import is_live, is_video, video_frames

WIDTH, HEIGHT, FRAMES = 96, 64, 20


def picture(number: int) -> np.ndarray:
    """A frame whose brightness is its number, blue below and red above."""
    image = np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8)
    image[: HEIGHT // 2, :, 2] = 255
    return image


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "belt.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        writer.write(picture(number))
    writer.release()
    return path


class Camera:
    """An MJPEG server on one port that can be switched off and on; frames are of one grey for each time it is on."""

    def __init__(self) -> None:
        self.on, self.grey, self.port = threading.Event(), 40, 0
        self._server: ThreadingHTTPServer | None = None

    def start(self, grey: int) -> None:
        camera, self.grey = self, grey
        on = self.on = threading.Event()  # of its own: a thread of before must not go on
        on.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                part = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), camera.grey, np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n".encode()
                try:
                    while on.is_set():
                        self.wfile.write(head + part + b"\r\n")
                        time.sleep(0.02)
                except OSError:
                    pass

            def log_message(self, *arguments: object) -> None:
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.on.clear()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def address(self) -> str:
        return f"video:http://127.0.0.1:{self.port}/live.mjpg"


@pytest.fixture
def camera() -> Iterator[Camera]:
    one = Camera()
    one.start(40)
    yield one
    one.stop()


def errors(text: str, limits: Limits | None = None) -> list[str]:
    """What is said of an input of which nothing can be read."""
    said = []
    for ref in expand(text, limits or Limits()):
        assert ref.failed
        with pytest.raises(ImageError) as raised:
            ref.read()
        said.append(str(raised.value))
    return said


class TestFiles:
    @pytest.mark.parametrize("prefix", ["", "video:"])
    def test_every_frame_in_order_and_in_rgb(self, video: Path, prefix: str) -> None:
        text = f"{prefix}{video}"
        refs = list(expand(text))
        assert [ref.page_index for ref in refs] == list(range(FRAMES))
        assert {(ref.input_path, str(ref.name), ref.failed) for ref in refs} == {(text, "belt.avi", False)}
        for number, ref in enumerate(refs):
            image = ref.read()
            assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
            assert abs(int(image[-4, 4, 0]) - 10 * number) < 12 and image[4, 4, 0] > 240

    def test_frames_are_read_when_they_are_asked_for(self, video: Path) -> None:
        refs = expand(str(video))
        first, second = next(refs), next(refs)
        assert first.read()[-4, 4, 0] < second.read()[-4, 4, 0] < 20
        refs.close()  # type: ignore[attr-defined]

    def test_a_colon_in_a_path_is_no_protocol(
        self, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "concat:a.avi").write_bytes(video.read_bytes())
        monkeypatch.chdir(tmp_path)
        assert len(list(expand("video:concat:a.avi"))) == FRAMES

    def test_missing_foreign_and_damaged_files_give_one_line(self, video: Path, tmp_path: Path) -> None:
        data = video.read_bytes()
        (tmp_path / "text.avi").write_text("no video at all")
        (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n")
        (tmp_path / "start.avi").write_bytes(data[:300])
        (tmp_path / "empty.avi").write_bytes(b"")
        for name, reason in (
            ("nowhere.avi", "cannot be read: No such file"),
            ("text.avi", "is not a video"),
            ("list.mp4", "is not a video"),
            ("empty.avi", "is not a video"),
            ("start.avi", "is damaged"),
        ):
            (said,) = errors(str(tmp_path / name))
            assert said.startswith(f"{tmp_path / name}: ") and reason in said and said.count(str(tmp_path)) == 1

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.avi")
        (said,) = errors(str(tmp_path / "pipe.avi"))
        assert "is not a regular file" in said

    def test_a_file_that_is_cut_short_says_so_after_its_frames(self, video: Path, tmp_path: Path) -> None:
        data = video.read_bytes()
        tenth = [found.start() for found in re.finditer(b"00dc", data)][9]
        (tmp_path / "cut.avi").write_bytes(data[: tenth + 100])
        *frames, last = expand(str(tmp_path / "cut.avi"))
        assert 1 < len(frames) < FRAMES and last.failed and not any(ref.failed for ref in frames)
        with pytest.raises(ImageError, match=rf"cut short: {len(frames)} of {FRAMES} frames"):
            last.read()

    def test_the_pixel_limit_holds(self, video: Path) -> None:
        (said,) = errors(str(video), Limits(max_pixels=WIDTH * HEIGHT - 1))
        assert "more than the limit" in said


class TestLive:
    def test_a_camera_that_disappears_and_returns(self, camera: Camera) -> None:
        """Frames, one failure, then the frames of the camera that returned, none of before."""
        stopped = threading.Event()
        frames = video_frames(camera.address, Limits(), stopped)
        before = [next(frames) for _ in range(3)]
        camera.stop()
        for lost in frames:  # what the network still held, then the failure
            if lost.failed:
                break
        with pytest.raises(ImageError, match="no more frames after"):
            lost.read()
        camera.start(200)
        after = [next(frames) for _ in range(3)]
        stopped.set()
        assert not any(ref.failed for ref in frames)
        assert all(abs(int(ref.read()[0, 0, 0]) - 40) < 5 for ref in before)
        assert all(abs(int(ref.read()[0, 0, 0]) - 200) < 5 for ref in after)
        numbers = [ref.page_index for ref in before + after]
        assert numbers == sorted(set(numbers)) and numbers[:3] == [0, 1, 2]

    def test_the_end_comes_when_it_is_asked_for_while_the_camera_is_away(self, camera: Camera) -> None:
        stopped = threading.Event()
        frames = video_frames(camera.address, Limits(), stopped)
        next(frames)
        camera.stop()
        assert any(ref.failed for ref in frames)
        stopped.set()
        assert list(frames) == []

    def test_a_camera_that_opens_and_shows_nothing_is_told_of_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Dark:
            """A camera whose lens stays shut is not at hand here."""

            def read(self) -> tuple[bool, None]:
                looks.append(1)
                if len(looks) == 2:
                    stopped.set()
                return False, None

        looks: list[int] = []
        stopped = threading.Event()
        monkeypatch.setattr(video_module, "_opened", lambda *_: nullcontext(Dark()))
        (only,) = video_frames("camera:0", Limits(), stopped)
        with pytest.raises(ImageError, match="no more frames after 0"):
            only.read()
        assert len(looks) == 2

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("camera:99", "no such camera"),
            ("rtsp://127.0.0.1:9/x", "cannot be opened"),
            ("video:http://127.0.0.1:9/x", "cannot be opened"),
        ],
    )
    def test_what_never_opens_is_one_line_and_the_end(self, text: str, reason: str) -> None:
        (said,) = errors(text)
        assert said.startswith(f"{text}: ") and reason in said

    @pytest.mark.parametrize(
        ("limits", "refused"),
        [
            (Limits(allow_streams=False), ("camera:0", "rtsp://h/x", "video:http://h/x")),
            (Limits(allow_private_urls=False), ("rtsp://h/x", "video:https://h/x")),
            (Limits(allow_urls=False), ("rtsps://h/x", "video:rtsp://h/x")),
        ],
    )
    def test_limits_keep_streams_closed(self, limits: Limits, refused: tuple[str, ...]) -> None:
        for text in refused:
            (said,) = errors(text, limits)
            assert "not allowed" in said

    def test_a_plain_url_is_never_taken_for_a_stream(self) -> None:
        assert [
            is_live(text) for text in ("http://h/x.png", "http://h/", "video:http://h/", "rtsp://h/", "camera:1")
        ] == [*(False, False, True, True, True)]
        assert not is_video("camera") and not is_video("camera:x") and not is_live("camera:1/../x")
