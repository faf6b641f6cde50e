"""Measurements, outside the package. Each module of a folder runs as `python -m benchmarks.FOLDER.MODULE`.

`throughput` (`make bench`, with `__main__`): time and memory a value, a record, an alert. `detection` (`make
bench-detection`): delays and false alarms on generated streams. `situations`: hard situations, beside river's ADWIN.
`evidence`: the numbers of alerts against the truth. `joint`: drift of dependence, beside other methods. `recorded`:
recorded streams, with marked changes or by weeks. `operation`: checkpoints and recovery of the service. `page` writes
measured tables into docs/detectors/measurements.md and evidence.md.
"""
