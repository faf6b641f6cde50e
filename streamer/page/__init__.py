"""What people see: pictures of distributions, and the report of a fleet as one file."""
