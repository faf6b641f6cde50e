"""The records that go in and out, with their ids, outcomes and life cycle."""
