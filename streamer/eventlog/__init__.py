"""The event log: the source of records and the sink of outputs and progress.

base.py      the port: `Records` in, `Output` and `Epoch` out, and the `Log` protocol between
history.py   the history of a unit: its epochs, and the notes between them
units.py     the unit of a topic-partition, and the digest of an epoch's outputs
headers.py   record headers as one span of bytes
memory.py    a log in memory: tests, and the output side of a replay
recordings/  recordings merged into one log: replay
kafka/       Kafka: the service
"""
