"""Alerts and control records in, actions out: when drift is worth a retrain.

The package is pure. It reads no clock and does no I/O; time arrives as data.

    engine     one handler a file; `engine.engine.Engine.handle` is the one entry
    policy     settings and rules: whether an alert is worth a retrain now
    state      what the engine remembers, as plain dataclasses
    messages   the records that go in and out, with their ids, outcomes and life cycle

A room imports only rooms below it.
"""
