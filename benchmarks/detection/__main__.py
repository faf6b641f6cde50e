"""`python -m benchmarks.detection`: the quality of detection and its tables, also as `make bench-detection`.

With `--bench FILE`, another benchmark runs detectors by their names:
`python -m benchmarks.detection --bench FILE shiryaev_roberts adwin,delta=0.002 --quick`.
"""

import argparse

from benchmarks.detection import plugs
from benchmarks.detection.quality import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", help="a Python file that takes detectors by `--plug NAME=module:attribute:batch`")
    parser.add_argument("detectors", nargs="*", help="NAME or NAME,SETTING=VALUE,...; other options go to the file")
    given, others = parser.parse_known_args()
    if given.bench:
        plugs.run(given.bench, given.detectors or plugs.BOTH_SETTINGS, others)
    else:
        main()
