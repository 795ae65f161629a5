"""How many examples hypothesis makes: few in `make test`, the same ones at every run; many in
`make fuzz`; no other place says. And which tests `make test` keeps in one process.

A busy machine is no failure, so there is no deadline for an example.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("usual", deadline=None, max_examples=25, derandomize=True)
settings.register_profile(
    "long", deadline=None, max_examples=10_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("usual")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of nodes run one after another in one process: each waits for real time. Those of
    `scannet` share generated scans, those of another file stay together because of their fixtures.
    """
    for item in items if config.pluginmanager.hasplugin("xdist") else []:
        folder = item.path.parent.name
        together = folder in ("nodes", "scannet")
        item.add_marker(pytest.mark.xdist_group(folder if together else str(item.path)))
