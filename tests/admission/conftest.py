import os

from hypothesis import HealthCheck, settings

# The same examples on every machine: a failure here is a failure there. Store calls make no example "too slow".
settings.register_profile(
    "cloister",
    deadline=None,
    derandomize=not os.environ.get("CLOISTER_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("cloister")
