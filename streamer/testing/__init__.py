"""A test kit: a real Kafka broker from pip alone (`kafka`, `plugin`) and alerts to try pipelines with (`alerts`)."""
