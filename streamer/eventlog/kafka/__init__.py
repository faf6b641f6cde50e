"""The log on Kafka: the only room that knows the Kafka client."""
