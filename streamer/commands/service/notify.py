"""`driftline notify`: sends incidents to Alertmanager and to a webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from streamer.commands.console.options import config_option
from streamer.commands.console.signals import stop_on_signal
from streamer.commands.service.companion import metrics_port_option, serving

if TYPE_CHECKING:
    import threading

    from streamer.config import Config

PORT: Final = 9466

EXAMPLE = """\b
Example, in driftline.yaml:
    notify:
      alertmanager: {urls: ["http://alertmanager:9093"]}
      webhook: {url: "https://hooks.example/drift", secret_env: HOOK_SECRET}
"""


@click.command(epilog=EXAMPLE)
@config_option("The configuration of the service.")
@metrics_port_option(PORT)
@click.option("--until-end", is_flag=True, help="End once all is sent that the topics hold.")
def notify(config_file: str, metrics_port: int | None, until_end: bool) -> None:
    """Send incidents to Alertmanager and to a webhook, until a signal.

    Each open incident is an alert of every Alertmanager in `notify`, until the incident is closed. The webhook gets one
    signed message when an incident opens, recurs, grows or closes, and for each retrain request. What is silenced with
    `driftline silence` opens no incident, so nobody hears of it.

    Progress is the offsets of the consumer group <kafka.group>-notify. After a crash, messages of its last second are
    sent again, with the same id. One process is enough: a second one ends the first.
    """
    from streamer.logs import log_to_stderr

    stop = stop_on_signal()
    log_to_stderr()

    from streamer.config import load_config

    _notify(load_config(config_file), PORT if metrics_port is None else metrics_port, until_end, stop)


def _notify(config: Config, port: int, until_end: bool, stop: threading.Event) -> None:
    """Notify until `stop` is set, or all is sent. Raises `UsageError` for unusable settings, and `BrokerError`."""
    from contextlib import closing
    from functools import partial
    from pathlib import Path

    from streamer.clock import SystemClock
    from streamer.errors import BrokerError
    from streamer.eventlog.kafka.reader import KafkaReader
    from streamer.eventlog.kafka.transfer import Transfer
    from streamer.launch.base import Tools
    from streamer.launch.http import Http
    from streamer.launch.notify.board import Board
    from streamer.launch.notify.notifier import Notifier, log
    from streamer.launch.notify.receivers import receivers_of
    from streamer.launch.notify.settings import check_notify
    from streamer.page.charts import picture_of
    from streamer.telemetry.table import NOTIFY_TABLE

    clock, outputs, connection = SystemClock(), config.outputs, config.kafka.connection()
    tools = Tools(Http(), Path())
    check_notify(config.notify, tools)
    with (
        serving(config, NOTIFY_TABLE, port, clock) as metrics,
        closing(Transfer(connection, group=config.notify_group)) as transfer,
        closing(KafkaReader(connection, [outputs.incidents, outputs.requests])) as reader,
    ):
        board = Board(outputs, config.notify.incidents_max)
        receivers = receivers_of(config.notify, board, tools, clock, picture_of)
        notifier = Notifier(board, receivers, transfer.committed(), reader.ends, metrics, partial(transfer.write, []))
        while not (stop.is_set() or (until_end and notifier.is_done() and reader.at_end())):
            for records in reader.poll(notifier.pause_s()):
                notifier.add(records)
            metrics.alive()
            if metrics.health.is_ready:
                notifier.turn()
            elif reader.at_end():
                notifier.begin()
                metrics.ready(True)
            if reader.has_grown():
                raise BrokerError("A topic has new partitions: start `driftline notify` again to read them")
        notifier.close()
    log.info("stopped; open incidents stay with Alertmanager for %.0f s", config.notify.hold_s)
