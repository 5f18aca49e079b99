"""The wire's stage, on the loop that workers run on."""

import os
from typing import Any

import pytest
import uvloop

from tests.wire.conftest import origin, start

__all__ = ["origin", "start"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("conformance") is not None and not os.environ.get("FULL"):
        pytest.skip("in full with `make conformance`")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}
