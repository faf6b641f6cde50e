"""`python -m benchmarks.detection`: the quality of detection and its tables, also as `make bench-detection`."""

from benchmarks.detection.quality import main

if __name__ == "__main__":
    main()
