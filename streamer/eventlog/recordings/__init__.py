"""Recorded topics as logs: Parquet and JSON lines."""
