"""The demo: ten years of a real subway and a simulated bus fleet, watched for drift. `make demo` runs it.

subway.py, fleet.py   two streams of events            stream.py   events as records and recordings
watch.py              a stream through Driftline       live.py     the fleet through a real Kafka broker
findings.py           the collected outputs         report.py   the report for people
"""
