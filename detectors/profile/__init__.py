"""Profiles of series: what the values of an interval are like, in 128 bytes a series.

`bank`: `ProfileBank`, which counts values and closes intervals. `kernels`: how one value is counted. `summary`: what is
stated of an interval, and what chance alone would give. `distances` and `classes` are for notebooks: PSI, Wasserstein
and others of two samples, and the scores of a classifier.
"""
