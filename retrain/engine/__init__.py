"""Alerts and commands in, actions out: one handler a file; `engine.py` is the only one that is called."""
