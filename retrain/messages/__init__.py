"""The records that go in and out, one a file, with their ids, outcomes and life cycle."""
