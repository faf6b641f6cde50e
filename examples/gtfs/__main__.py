"""Writes a recording of GTFS-realtime feeds: `python -m examples.gtfs fleet.parquet`.

A record is a `FeedMessage` of Protobuf with the position of one bus of each of 200 routes, once a minute, for 13 hours
up to now. From the seventh hour on, the buses of two routes are slower, and those of a third are full.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from google.transit import gtfs_realtime_pb2

from streamer.eventlog.base import Records
from streamer.eventlog.recordings.parquet_writer import RecordingWriter

TOPIC = "vehicle-positions"
ROUTES, MINUTES, SEED = 200, 780, 7
SLOW, FULL = ("17", "99"), ("145",)
FROM_MINUTE = MINUTES // 2 + 30


def feed(minute: int, at_s: int, rng: np.random.Generator) -> bytes:
    """The feed of one minute."""
    message = gtfs_realtime_pb2.FeedMessage()
    message.header.gtfs_realtime_version, message.header.timestamp = "2.0", at_s
    noise, unit = rng.normal(size=(ROUTES, 3)), rng.random((ROUTES, 8))
    is_late = minute >= FROM_MINUTE
    for i in range(ROUTES):
        route = str(i + 1)
        bus = message.entity.add(id=route).vehicle
        bus.trip.route_id, bus.trip.trip_id = route, f"{route}-{minute // 45}"
        bus.trip.direction_id, bus.trip.schedule_relationship = int(unit[i, 0] < 0.5), 5 * int(unit[i, 1] < 0.03)
        bus.vehicle.id, bus.timestamp = f"bus-{route}", at_s
        place = bus.position
        place.latitude, place.longitude = 49.2 + i / 1000 + noise[i, 0] / 100, -123.1 + noise[i, 1] / 100
        speed = 9.0 + 2.0 * noise[i, 2]
        place.speed = max(speed * (0.6 if is_late and route in SLOW else 1.0), 0.0)
        place.bearing, place.odometer = 360 * unit[i, 2], 12_000 * unit[i, 3]
        bus.current_stop_sequence = 1 + int(40 * unit[i, 4])
        bus.current_status = 1 if unit[i, 5] < 0.3 else 2
        bus.congestion_level = 1 + int(unit[i, 6] < 0.2)
        percentage = 100 * unit[i, 7] ** (0.4 if is_late and route in FULL else 1.5)
        bus.occupancy_percentage, bus.occupancy_status = int(percentage), 1 + int(percentage // 34)
    return message.SerializeToString()


def main(path: str) -> None:
    """Write the recording."""
    first_s = int(time.time()) // 60 * 60 - 60 * MINUTES  # a demonstration is about today
    rng = np.random.default_rng(SEED)
    rows = [
        (minute, 1000 * (first_s + 60 * minute), None, feed(minute, first_s + 60 * minute, rng), ())
        for minute in range(MINUTES)
    ]
    with RecordingWriter(path) as writer:
        writer.write(Records.build(TOPIC, 0, rows))
    print(f"{path}: {MINUTES} feeds of {ROUTES} routes, {MINUTES * ROUTES:,} positions")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fleet.parquet")
