"""Records for a decide engine, with the outcomes that they must have."""


def check_story(engine, *story):
    """Hand the records to the engine and compare the reasons of its actions; returns the actions of the last record."""
    actions = []
    for record, expected in story:
        actions = engine.handle(record)
        assert " ".join(action.reason for action in actions) == expected, record
    return actions
