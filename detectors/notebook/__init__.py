"""Detectors for people: one series or some columns, in notebooks, tests and small programs.

`single` (one series, by name), `named` (one class a detector), `columns` (the columns of a frame), `river_adapter` (for
pipelines of river), `inputs` (what they accept).
"""
