"""Arrays that all detectors share: growth, rows, alarm lists, types and compiled kernels."""
