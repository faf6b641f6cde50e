"""Training references: the table, the file, how one is built."""
