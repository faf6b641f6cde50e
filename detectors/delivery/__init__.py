"""Detectors of data delivery.

`absence`: columns that events no longer carry. `flow`: events that stop or change their rate. `label_rate`: the share
of predictions that get their label in time.
"""
