"""For every test: properties are searched without a stopwatch, and in the same way on every machine; and one browser."""

import os

from hypothesis import HealthCheck, settings

from tests.browser import browser, open_page

__all__ = ["browser", "open_page"]

# A busy machine may take seconds over an example that is cheap: time says nothing about the property. FULL=1 looks further
# each time; what it finds becomes an @example.
settings.register_profile(
    "floodgate", deadline=None, derandomize=not os.environ.get("FULL"), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("floodgate")
