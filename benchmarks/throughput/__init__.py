"""Time and memory a value, a record and an alert; `python -m benchmarks` prints the main figures."""
