"""Logs: where records come from and outputs go.

    base.py      the port: what every log gives and takes
    memory.py    a log in memory: tests, and the output side of a replay
    recordings/  recordings merged into one log: replay
    kafka/       Kafka: the service

Recordings are opened by `recordings/recording.py`; the files beside it read and write the formats.
"""
