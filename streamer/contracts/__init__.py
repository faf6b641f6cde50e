"""Data contracts of Driftline's own topics: names, schemas, readers, watermarks, dead letters."""
