"""Launches training runs for requests: the ledger, the launcher, and its targets."""

from streamer.launch.launcher import Launcher
from streamer.launch.ledger import Ledger

__all__ = ["Launcher", "Ledger"]
