"""Settings shared by all tests."""

import os

from hypothesis import HealthCheck, settings

# Reproducible: the same examples on every machine. OPQ_HYPOTHESIS=random explores new ones.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("OPQ_HYPOTHESIS", "ci"))
