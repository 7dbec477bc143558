"""What tests in every folder use: the bundled ffmpeg, painted plates, small shots."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import settings
from ncnn_models import write_linear, write_zero_flow
from PIL import Image
from rendering import House, clean_environment

from flows.prefect_server import server_words
from models.rife_trial import problem, vulkan_devices

# a busy machine is no defect: a timing never fails a test
settings.register_profile("dailies", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("dailies")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no core waits in the end for the other's night."""
    items.sort(key=lambda item: (item.get_closest_marker("night") is None, item.path.parent.name != "flows"))


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Path of the ffmpeg that comes with the installation."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="session")
def plate_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A textured 8-bit plate of 320x180: smooth noise over a few scales, the same every time."""
    random = np.random.default_rng(7)
    picture = np.zeros((180, 320, 3))
    for cells in (4, 12, 40):
        noise = random.random((cells * 9 // 16 + 1, cells, 3)) * 255
        layer = [
            Image.fromarray(noise[..., i].astype(np.uint8)).resize((320, 180), Image.Resampling.BICUBIC)
            for i in range(3)
        ]
        picture += np.stack([np.asarray(plane, float) for plane in layer], axis=-1) / 3
    path = tmp_path_factory.mktemp("plates") / "noise.png"
    Image.fromarray(picture.astype(np.uint8)).save(path)
    return path


@pytest.fixture(autouse=True)
def _no_unexpected_warnings(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """A WARNING or ERROR of ours fails the test that let it out, unless the test is marked `expects_log`."""
    yield
    if request.node.get_closest_marker("expects_log"):
        return
    said = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "dailies" and record.levelno >= logging.WARNING
    ]
    assert not said, f"unexpected log lines: {said}"


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server, started once: a run then costs seconds instead of a server's start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    argv = [sys.executable, "-m", *server_words(port)]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(argv, env=clean_environment(PREFECT_HOME=str(home)), stdout=log, stderr=log) as server,
    ):
        url = f"http://127.0.0.1:{port}/api"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=2):
                    break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.3)
        yield url
        server.terminate()
        server.wait(30)


@pytest.fixture
def house(tmp_path: Path, plate_path: Path, prefect_url: str) -> House:
    """An empty house that uses the session's Prefect server."""
    return House(
        tmp_path,
        plate_path,
        clean_environment(
            DAILIES_HOME=str(tmp_path / "home"),
            PREFECT_HOME=str(tmp_path / "prefect"),
            PREFECT_API_URL=prefect_url,
        ),
    )


@pytest.fixture(scope="session")
def rife_runs() -> None:
    """Skips without the RIFE wheel's libraries, or fails where DAILIES_REQUIRE_RIFE=1 says they must be there."""
    wrong = problem(None)
    if wrong is not None:
        if os.environ.get("DAILIES_REQUIRE_RIFE") == "1":
            pytest.fail(wrong)
        pytest.skip(wrong)


@pytest.fixture(scope="session")
def linear_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RIFE folder whose network gives a(1-t) + bt."""
    return write_linear(tmp_path_factory.mktemp("linear") / "rife-v4.6")


@pytest.fixture(scope="session")
def zero_flow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RIFE folder whose network is RIFE 4.6 with zero weights: the average, at full cost."""
    return write_zero_flow(tmp_path_factory.mktemp("zero") / "rife-v4.6")


@pytest.fixture(scope="session")
def vulkan_device(rife_runs: None) -> int:
    """Number of a Vulkan device, a processor in its place included; skips where the machine has neither."""
    if not (devices := vulkan_devices()):
        pytest.skip("no Vulkan device; Debian's mesa-vulkan-drivers puts the processor in its place")
    return devices[0].index


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """A run of the tests that a shell put into the background ignores Ctrl-C, and so would every program it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
