"""Tables within records: columns of Arrow, and cells of CSV."""
