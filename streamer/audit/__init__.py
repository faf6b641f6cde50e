"""Read models over what was published: requests, silences, explanations, timelines."""
