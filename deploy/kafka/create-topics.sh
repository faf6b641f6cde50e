#!/usr/bin/env bash
# Creates the topics of deploy/driftline.yaml with the broker's own tool; existing topics stay unchanged.
# Usage: create-topics.sh BOOTSTRAP
set -euo pipefail

create() { # name, partitions, more options
    /opt/kafka/bin/kafka-topics.sh --bootstrap-server "$bootstrap" --create --if-not-exists \
        --topic "$1" --partitions "$2" --replication-factor 1 "${@:3}"
}

bootstrap=$1

# All event topics have the same number of partitions: one unit folds partition p of each.
create bus.predictions 4
create bus.labels 4
create weather.features 4

create bus.predictions-dlt 1
create bus.labels-dlt 1
create weather.features-dlt 1
create driftline.alerts-dlt 1
create driftline.control-dlt 1
create driftline.watermarks-dlt 1

# Alerts, commands and watermarks need one order. Epochs have a partition for each unit: one for each of the event topics, and one for decide.
create driftline.alerts 1 --config retention.ms=-1 --config retention.bytes=-1
create driftline.control 1 --config retention.ms=-1 --config retention.bytes=-1
create driftline.watermarks 1 --config retention.ms=-1 --config retention.bytes=-1
create driftline.epochs 5 --config retention.ms=-1 --config retention.bytes=-1

create driftline.incidents 1 --config cleanup.policy=compact --config min.compaction.lag.ms=2592000000
create driftline.retrain-requests 1 --config retention.ms=-1 --config retention.bytes=-1
create driftline.decisions 1 --config retention.ms=-1 --config retention.bytes=-1
create driftline.profiles 1 --config cleanup.policy=compact,delete --config retention.ms=34560000000 --config compression.type=zstd
