"""Tables of many series.

`id_table`: `IdTable`, from keys to dense indices. `table`: `SeriesTable`, from columns to rows of banks. `offsets`:
`Offsets`, from event numbers to offsets and times.
"""
