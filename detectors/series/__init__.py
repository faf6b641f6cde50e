"""Tables that detectors of many series need: ids, rows of series, offsets of their events."""
