"""The ground of all detectors.

`rows` (state of many series), `scan_bank` (the loop of `update`), `alarm_list`, `bounds` (ranges of settings),
`growth`, `onset` (change points), `jit` (compiled kernels), `types`.
"""
