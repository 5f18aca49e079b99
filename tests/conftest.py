"""For every test: properties are searched without a stopwatch, and in the same way on every machine; and one browser."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.browser import browser, open_page

__all__ = ["browser", "open_page"]

# A busy machine may take seconds over an example that is cheap: time says nothing about the property. FULL=1 looks further
# each time; what it finds becomes an @example.
settings.register_profile(
    "floodgate", deadline=None, derandomize=not os.environ.get("FULL"), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("floodgate")

BY_THE_CLOCK = {"demo", "e2e", "load", "operator", "oscar", "packaging", "web", "wire"}  # processes, sockets, browsers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Three such tests side by side on two cores can starve each other: one that fails is run once more, and the summary says
    so (RERUN). What decides the laws and the core is not: there one failure in many runs is a finding.
    """
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in BY_THE_CLOCK:
            item.add_marker(pytest.mark.flaky(reruns=1))
