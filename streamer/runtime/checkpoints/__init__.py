"""States as files: store, writer, scheduler, checksum."""
