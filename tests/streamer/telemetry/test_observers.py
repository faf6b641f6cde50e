"""What the loop's watchers say."""

import logging
from itertools import pairwise

from crash_kit import CrashingLog
from loop_kit import START_MS, log_with_events, service_over

from streamer.clock import ManualClock
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.observers import STEADY_S, MetricsObserver, Observers, ProgressLog, ProgressObserver


def lag():
    return [(("predictions", 0), 7), (("predictions", 1), 5)]


def watched(log, clock, metrics):
    service = service_over(log)
    observers = Observers(MetricsObserver(metrics, lag), ProgressLog(clock, lag))
    service._observer = observers
    return service


def test_metrics_count_what_the_folds_count():
    """Records, values, dead letters, alarms, alerts, outcomes and requests on the page are those of the folds."""
    metrics = Metrics()
    log = log_with_events(1)
    service = watched(log, ManualClock(), metrics)
    service.run(lambda: False)
    page = dict(line.rsplit(" ", 1) for line in metrics.expose().decode().splitlines() if line[0] != "#")
    tally = sum((unit.fold.tally for unit in service.units.values()), start=type(service.units["decide"].fold.tally)())
    assert float(page['driftline_records_total{topic="predictions"}']) == tally["records", "predictions"] == 612
    assert float(page['driftline_values_total{topic="predictions"}']) == 600
    assert float(page['driftline_dead_letters_total{reason="not_json",topic="predictions"}']) == 12
    assert float(page['driftline_alarms_total{detector="adwin"}']) == tally["alarms", "adwin"] > 0
    assert float(page['driftline_alerts_total{kind="drift",state="ready"}']) == tally["alerts", "drift", "ready"] > 0
    assert float(page["driftline_retrain_requests_total"]) == 2
    assert float(page['driftline_lag_records{partition="0",topic="predictions",unit="detect-0"}']) == 7
    assert float(page["driftline_models"]) == 4
    assert float(page["driftline_ready"]) == 1


def test_metrics_show_what_the_states_hold():
    """Requests, incidents, tables, memory, phases, stages and the newest events are on the page after a run."""
    clock = ManualClock()
    metrics = Metrics(clock)
    service = watched(log_with_events(1), clock, metrics)

    def stopped():
        clock.advance(3)  # so that a census is due at every turn
        return False

    service.run(stopped)
    page = dict(line.rsplit(" ", 1) for line in metrics.expose().decode().splitlines() if line[0] != "#")
    assert float(page['driftline_requests{state="approved"}']) == 2
    assert float(page['driftline_incidents_open{scope="model"}']) == 2
    assert float(page['driftline_request_age_seconds{state="approved"}']) > 0
    assert float(page['driftline_table_rows{table="models",unit="detect-1"}']) == 2
    assert float(page['driftline_table_rows_max{table="models",unit="detect-1"}']) == 65_536
    assert float(page['driftline_state_bytes{part="drift",unit="detect-0"}']) > 10_000
    phases = {key: float(value) for key, value in page.items() if key.startswith("driftline_series_by_phase")}
    assert sum(phases.values()) == float(page["driftline_series"]) == 8
    key = "driftline_topic_event_timestamp_seconds"
    newest = [float(page[f'{key}{{partition="{partition}",topic="predictions"}}']) for partition in (0, 1)]
    assert max(newest) == (START_MS + 599) / 1000
    assert min(newest) >= (START_MS + 590) / 1000
    for stage in ("fetch", "decode", "detect", "decide", "commit"):
        assert f'driftline_stage_seconds_total{{stage="{stage}"}}' in page


def test_a_census_is_rare():
    """Between two censuses lie two seconds at least, and fifty times what the last one took."""
    clock, taken = ManualClock(), []
    service = watched(log_with_events(1), clock, Metrics(clock))
    service.turn()
    fold = service.units["detect-0"].fold
    census = fold.census

    def slow():
        taken.append(clock.elapsed_s)
        clock.advance(0.1)
        return census()

    fold.census = slow
    for _ in range(120):
        service._observer.on_turn(service)
        clock.advance(0.1)
    assert len(taken) == 3
    assert min(b - a for a, b in pairwise(taken)) >= 5


def test_lag_in_seconds_is_that_of_the_oldest_waiting_record():
    """It grows while records wait, from the newest folded record or the last time none waited, and is 0 without any."""
    clock, waiting = ManualClock(wall_s=5000.0), [0]
    metrics = Metrics(clock)
    observer = MetricsObserver(metrics, lambda: [(("predictions", 0), waiting[0])])
    log = CrashingLog(["predictions"])
    log.store.append("predictions", None, b"{}", timestamp_ms=4_000_000)
    service = service_over(log)
    service.turn()

    def lag_s():
        for _ in range(10):  # the lag is asked for once in ten turns
            observer.on_turn(service)
        key = 'driftline_lag_seconds{partition="0",topic="predictions",unit="detect-0"} '
        return next(float(line[len(key) :]) for line in metrics.expose().decode().splitlines() if line.startswith(key))

    assert lag_s() == 0
    clock.advance(30)
    waiting[0] = 7
    assert lag_s() == 30
    clock.advance(30)
    assert lag_s() == 60
    waiting[0] = 0
    assert lag_s() == 0


def test_a_service_is_ready_once_it_knows_its_units():
    """Before its group has answered, it folds nothing; a worker without units has nothing to wait for."""

    class Joining(CrashingLog):
        answer = None

        def assignment(self):
            return self.answer

    metrics = Metrics()
    log = Joining(["predictions"])
    service = watched(log, ManualClock(), metrics)
    for answer, is_ready in ((None, False), ([], True), (None, True)):
        log.answer = answer
        service.turn()
        service._observer.on_turn(service)
        assert metrics.health.is_ready is is_ready


def test_no_time_is_told_before_the_first_event():
    """A topic of nothing but dead letters has no newest event."""
    metrics = Metrics()
    log = CrashingLog(["predictions"])
    log.store.append("predictions", None, b"junk")
    service = watched(log, ManualClock(), metrics)
    service.turn()
    service._observer.on_turn(service)
    assert b"driftline_event_timestamp_seconds{" not in metrics.expose()
    assert b'driftline_records_total{topic="predictions"} 1.0' in metrics.expose()


def test_what_was_published_before_is_not_counted_again():
    """After a restart records are folded again and counted so, but alerts and requests are not published again."""
    log = log_with_events(1)
    watched(log, ManualClock(), Metrics()).run(lambda: False)
    metrics = Metrics()
    service = watched(log.reopen(), ManualClock(), metrics)
    service.run(lambda: False)
    page = dict(line.rsplit(" ", 1) for line in metrics.expose().decode().splitlines() if line[0] != "#")
    assert service.units["detect-1"].fold.tally["alerts", "drift", "firing"] > 0
    assert float(page['driftline_records_total{topic="predictions"}']) == 612
    assert [key for key in page if "alerts_total" in key or "outcomes_total" in key] == []
    assert float(page["driftline_retrain_requests_total"]) == 0


def test_progress_is_told_every_ten_seconds_while_something_moves(caplog):
    """A line says how many records were folded, how far behind the service is, and when it has recovered."""
    caplog.set_level(logging.INFO)
    first = log_with_events(1)
    watched(first, ManualClock(), Metrics()).run(lambda: False)
    assert caplog.messages == []
    clock = ManualClock()
    service = watched(first.reopen(), clock, Metrics())

    def stopped():
        clock.advance(11)
        return False

    service.run(stopped)
    assert caplog.messages[0].startswith("recovering, ")
    assert caplog.messages[0].endswith(" records folded, 12 behind")
    assert "recovered; what comes now is new" in caplog.messages
    assert len(caplog.messages) == len(set(caplog.messages))


def test_a_service_that_folds_nothing_while_records_wait_is_called_stuck():
    """Turning is not enough: with lag and no epoch for five minutes, the process is not alive; without lag it is."""
    waiting = [7]
    clock = ManualClock()
    metrics = Metrics(clock)
    service = service_over(log_with_events(0))
    observer = MetricsObserver(metrics, lambda: [(("predictions", 0), waiting[0])])

    def idle(seconds):
        clock.advance(seconds)
        for _ in range(10):
            observer.on_turn(service)
        return metrics.health.liveness()

    idle(0)
    assert idle(299) == (True, "alive")
    assert idle(2) == (False, "stuck: records wait and none was folded for 301 s (limit 300 s)")
    service.turn()
    assert idle(299) == (True, "alive")
    waiting[0] = 0
    service.run(lambda: False)
    idle(0)
    assert idle(400) == (True, "alive")


def test_a_unit_that_left_is_no_longer_told_of():
    """Its gauges would say old things for ever: epoch, times and the lag of each of its topics are gone."""
    metrics = Metrics()
    log = log_with_events(1)
    service = watched(log, ManualClock(), metrics)
    service.run(lambda: False)
    assert b'unit="detect-1"' in metrics.expose()
    service._let_go("detect-1")
    page = metrics.expose()
    assert b'unit="detect-1"' not in page
    assert b'driftline_lag_records{partition="1"' not in page
    assert b'unit="detect-0"' in page
    assert b'driftline_lag_records{partition="0"' in page


def test_a_worker_with_nothing_to_do_has_got_something_done_after_a_minute():
    """So its parent waits an outage out, though nothing was ever committed; afterwards only commits count."""
    reported, clock = [], ManualClock()
    progress = ProgressObserver(lambda: reported.append(clock.monotonic_s()), clock)
    service = service_over(CrashingLog())
    progress.on_turn(service)
    assert reported == []
    clock.advance(STEADY_S)
    progress.on_turn(service)
    progress.on_turn(service)
    assert len(reported) == 1
    progress.on_commit([], [], 0.1)
    assert len(reported) == 2
