"""Composition roots: run on Kafka, replay, record, verify offline, inspect, provision topics."""
