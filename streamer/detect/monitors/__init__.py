"""One kind of watching a file; `table.py` lists the monitors."""
