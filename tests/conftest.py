"""Fixtures that several rooms share."""

from hypothesis import settings

pytest_plugins = ["tests.local_system"]

# The same examples every time: a red run can be repeated, and a green one is not luck.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("ci")
