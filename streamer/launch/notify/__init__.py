"""Sends incidents to people: as alerts to Alertmanager, and as a signed webhook."""

from streamer.launch.notify.board import Board
from streamer.launch.notify.notifier import Notifier
from streamer.launch.notify.receivers import AlertmanagerReceiver, WebhookReceiver

__all__ = ["AlertmanagerReceiver", "Board", "Notifier", "WebhookReceiver"]
