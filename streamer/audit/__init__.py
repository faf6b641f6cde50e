"""Read models of the published records: requests, silences, explanations, timelines."""
