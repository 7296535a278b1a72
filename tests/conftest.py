"""What holds for all tests: how long an example takes depends on the machine, and is nothing that a property says.

The examples are the same in each run, so that a failure is one of the change that it comes with. MARGINGATE_EXPLORE=1
draws others each time; MARGINGATE_EXAMPLES says how many examples a property has that states no number of its own.
"""

import os

from hypothesis import settings

settings.register_profile(
    "margingate",
    deadline=None,
    derandomize=os.environ.get("MARGINGATE_EXPLORE") != "1",
    max_examples=int(os.environ.get("MARGINGATE_EXAMPLES", "100")),
)
settings.load_profile("margingate")
