"""Logs: where records come from and outputs go.

    base.py            the port: what every log gives and takes
    memory_log.py      a log in memory: tests, and the output side of a replay
    recorded_log.py    recordings merged into one log: replay
    kafka_log.py       Kafka: the service

Recordings are opened by `recording.py`; the files beside it read and write the formats.
"""
