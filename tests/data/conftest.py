"""An empty data folder, a made-up dataset of the catalogue, and a server on this machine that serves its files."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from data_helpers import FILENAMES, Server, Toy, write_idx

from equiprop.data import DataFile, Entry
from equiprop.data._catalogue import CATALOGUE
from equiprop.data._mnist import read_mnist


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that `EQUIPROP_DATA_DIR` names."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on the loopback interface."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append(self.path)
            served.encodings.append(self.headers["Accept-Encoding"])
            body = served.bodies.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            claimed = served.claimed.get(self.path, len(body))
            self.send_header("Content-Length", str(claimed))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = claimed != len(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        http.shutdown()
        thread.join()


@pytest.fixture
def toy(data_folder: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The dataset `toy` in the catalogue; of its two mirrors, `/first/` serves nothing and `/second/` its files."""
    labels = np.arange(40, dtype=np.uint8) % 4
    images = np.random.default_rng(0).integers(0, 256, (40, 5, 3), dtype=np.uint8)
    arrays = dict(zip(FILENAMES, (images, labels, images[:12], labels[:12]), strict=True))
    published = {name: write_idx(tmp_path / name, values).read_bytes() for name, values in arrays.items()}
    entry = Entry(
        name="toy",
        description="made up",
        classes=("a", "b", "c", "d"),
        image_shape=(5, 3),
        train_images=32,
        validation_images=8,
        test_images=12,
        mean=0.0,
        scale=255.0,
        licence="",
        citation="",
        files=tuple(
            DataFile(
                name,
                (f"{server.address}/first/{name}", f"{server.address}/second/{name}"),
                len(data),
                f"sha256:{hashlib.sha256(data).hexdigest()}",
            )
            for name, data in published.items()
        ),
        read=read_mnist,
    )
    server.bodies = {f"/second/{name}": data for name, data in published.items()}
    monkeypatch.setitem(CATALOGUE, "toy", entry)
    return Toy(data_folder / "toy", published)
