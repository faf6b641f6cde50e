"""Offline work: tables as recordings, and the part of a recording that is folded."""
