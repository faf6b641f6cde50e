"""Detectors of categories.

`rates`: whether one category becomes more frequent, with a stated false-alarm rate. `window`: a G-test of the last
values against a reference.
"""
