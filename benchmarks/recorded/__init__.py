"""Recorded streams: with marked changes (`marked_streams`), and by weeks (`weeks`)."""
