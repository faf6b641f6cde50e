"""A fleet of buses as GTFS-realtime feeds."""
