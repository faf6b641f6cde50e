"""Detectors of how data arrive: absent columns, gaps in a flow, the share of labels that join."""
