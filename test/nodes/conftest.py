"""Fixtures of the node tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def make_system():
    from helpers.grounding_system import GroundingSystem  # skips without ROS

    systems = []

    def make(*arguments, **options):
        systems.append(GroundingSystem(*arguments, **options))
        return systems[-1]

    yield make
    for system in systems:
        assert system.bench.spinning, "an exception ended the executor"
        system.bench.close()
