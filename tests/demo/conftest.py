import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.demo.processes import ShopProcess


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ShopProcess]:
    shop = ShopProcess(tmp_path, port=free_port(), stock=3)
    shop.start()
    yield shop
    shop.stop()
