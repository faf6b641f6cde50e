"""What all tests share."""

import os

from hypothesis import settings

# Kernels compile at their first call, so a deadline would measure the compiler. Examples are the same in every run, so
# that a red build means a change; HYPOTHESIS_PROFILE=explore looks at new ones.
settings.register_profile("driftline", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "driftline"))
