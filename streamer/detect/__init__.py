"""The detect fold: events in, alerts out."""
