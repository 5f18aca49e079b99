from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.demo.processes import ShopProcess
from tests.processes import free_port


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ShopProcess]:
    shop = ShopProcess(tmp_path, port=free_port(), stock=3)
    shop.start()
    yield shop
    shop.stop()
