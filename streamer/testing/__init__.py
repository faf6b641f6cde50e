"""A test kit: a real Kafka broker from pip alone (`kafka`, `plugin`) and alerts for tests of pipelines (`alerts`)."""
