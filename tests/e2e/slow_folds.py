"""`driftline` whose live folds take longer, so that a test can kill it within one: `python slow_folds.py run ...`."""

import time

from streamer.cli import main
from streamer.runtime.unit import Unit

LONGER_S = 3.0

if __name__ == "__main__":
    fold_live = Unit.fold_live

    def slowly(self, cut):
        time.sleep(LONGER_S)
        return fold_live(self, cut)

    Unit.fold_live = slowly
    main()
