"""How many examples hypothesis makes: few in `make test`, the same ones at every run; many in
`make fuzz`; no other place says.

A busy machine is no failure, so there is no deadline for an example.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("usual", deadline=None, max_examples=25, derandomize=True)
settings.register_profile(
    "long", deadline=None, max_examples=10_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("usual")
