"""Units, epochs, the loop, recovery, poison record isolation, verification; knows no Kafka."""
