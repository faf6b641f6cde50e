"""Event times as producers write them."""

from __future__ import annotations

from situation_kit import START_MS, Sent, event, iso, replayed, shifted


def test_gtfs_times_as_texts(tmp_path):
    """Protobuf's JSON mapping writes 64-bit integers as text (alexwoolford/rtd-kafka)."""
    fields = {
        "model_id": "=bus-eta", "model_version": None, "prediction_id": "$.id", "event_time": "$.vehicle.timestamp",
        "features": {"speed": "$.vehicle.position.speed", "status": "$.vehicle.currentStatus"},
    }  # fmt: skip
    records = [
        {
            "id": f"v{i % 20}",
            "vehicle": {"position": {"speed": x}, "timestamp": str(START_MS // 1000 + 20 * i), "currentStatus": "IN"},
        }
        for i, x in enumerate(shifted(1, 900, 8, 13, 2))
    ]
    found = replayed(tmp_path, records, {"fields": fields})
    assert (found.dead, found.drifts) == ([], {("bus-eta", "speed")})


def test_micro_and_nanoseconds(tmp_path):
    """Debezium's MicroTimestamp and ts_ns (confluentinc/kafka-connect-bigquery#345, debezium/debezium#5277)."""
    records = [
        {**event(i, model), "event_time": (START_MS + 60_000 * i) * factor, "features": {"x": x}}
        for i, x in enumerate(shifted(2, 60, 0, 0))
        for model, factor in (("us", 10**3), ("ns", 10**6))
    ]
    found = replayed(tmp_path, [Sent(one, time_ms=START_MS + 60_000 * (i // 2)) for i, one in enumerate(records)])
    assert found.dead == []
    assert "from 2026-03-02 06:00 to 2026-03-02 06:59 UTC" in found.words
    assert {found.columns(model)["x"]["values"] for model in ("us", "ns")} == {60}
    assert {found.columns(model)["x"]["last_event_time"] for model in ("us", "ns")} == {"2026-03-02T06:59:00Z"}


def test_local_times_without_a_zone(tmp_path, caplog):
    """East and west of Greenwich (mlrun/mlrun#8526, #4889); the log says what was assumed, a setting says better."""
    records = [
        Sent({**event(i, model), "event_time": iso(i + 60 * hours)[:23], "features": {"x": 1.0}},
             time_ms=START_MS + 60_000 * i)
        for i in range(40) for model, hours in (("tokyo", 9), ("vancouver", -8))
    ]  # fmt: skip
    found = replayed(tmp_path, records)
    assert found.dead == []
    assert "set topics.events.time_zone, as in Europe/Paris" in caplog.text
    assert found.columns("tokyo")["x"]["last_event_time"] == "2026-03-02T06:39:00Z"
    caplog.clear()
    tokyo = replayed(tmp_path, records[::2], {"time_zone": "Asia/Tokyo"})
    assert tokyo.columns("tokyo")["x"]["last_event_time"] == "2026-03-02T06:39:00Z"
    vancouver = replayed(tmp_path, records[1::2], {"time_zone": "America/Vancouver"})
    assert vancouver.columns("vancouver")["x"]["last_event_time"] == "2026-03-02T06:39:00Z"
    assert "time_zone" not in caplog.text
