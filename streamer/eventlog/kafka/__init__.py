"""The log on Kafka: the only room that uses the Kafka client."""
