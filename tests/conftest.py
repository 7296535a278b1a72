"""What holds for all tests: how long an example takes depends on the machine, and is nothing that a property says."""

from hypothesis import settings

settings.register_profile("margingate", deadline=None)
settings.load_profile("margingate")
