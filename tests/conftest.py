"""What holds for all tests: how long an example takes depends on the machine, and is nothing that a property says.

MARGINGATE_EXAMPLES: how many examples a property has that states no number of its own.
"""

import os

from hypothesis import settings

settings.register_profile("margingate", deadline=None, max_examples=int(os.environ.get("MARGINGATE_EXAMPLES", "100")))
settings.load_profile("margingate")
