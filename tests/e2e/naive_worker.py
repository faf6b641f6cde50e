"""A worker as a first attempt at one is written: it copies records, and lets the client commit when it likes.

`python naive_worker.py BOOTSTRAP TOPIC COPIES GROUP`
"""

from __future__ import annotations

import sys

from kafka import KafkaConsumer, KafkaProducer


def main(bootstrap: str, topic: str, copies: str, group: str) -> None:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", session_timeout_ms=6000
    )
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20)
    for record in consumer:
        producer.send(copies, b"%d-%d" % (record.partition, record.offset))


if __name__ == "__main__":
    main(*sys.argv[1:])
