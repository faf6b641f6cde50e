"""How a unit finds the record that kills its process."""

from hypothesis import given
from hypothesis import strategies as st

from streamer.eventlog.history import Attempt
from streamer.runtime.poison import TRIES, PoisonIsolation


def starts_until_found(records, deadly):
    """Fold so many records, one of which kills; returns how many processes died, and what was set aside."""
    done, attempts, deaths = 0, [], 0
    while True:
        isolation = PoisonIsolation.after(attempts)
        while True:  # one process
            size = min(isolation.records_max or records, records - done)
            if isolation.suspect is not None:
                return deaths, isolation.suspect["t"] - 1
            if isolation.logs_attempts:
                attempts.append(isolation.attempt("detect-0", size, {"t": done + size}))
            if done <= deadly < done + size:
                deaths += 1
                break
            done += size
            attempts.clear()
            isolation = isolation.done(size)


@given(st.integers(1, 200_000), st.data())
def test_the_record_that_kills_is_set_aside_and_no_other(records, data):
    """Wherever it stands in however large an epoch, it is found in a dozen starts at most."""
    deadly = data.draw(st.integers(0, records - 1))
    deaths, found = starts_until_found(records, deadly)
    assert found == deadly
    assert deaths <= TRIES + 8


def test_two_deaths_change_nothing():
    """A process may die for other reasons: the first attempts fold whatever there is."""
    assert (
        PoisonIsolation.after([])
        == PoisonIsolation.after([Attempt("u", 9)])
        == PoisonIsolation.after([Attempt("u", 9)] * 2)
        == PoisonIsolation()
    )
    assert PoisonIsolation.after([Attempt("u", 90)] * 3) == PoisonIsolation(11, 90)


def test_a_small_epoch_that_kills_is_made_smaller_at_once():
    """It had been made small because of the suspicion, so it needs no three tries of its own."""
    assert PoisonIsolation.after([Attempt("u", 11, cautious=True)]) == PoisonIsolation(1, 11)
    assert PoisonIsolation.after([Attempt("u", 1, True, {"t": 7})]) == PoisonIsolation(1, 1, {"t": 7})


def test_once_the_suspicion_is_over_epochs_are_as_they_were():
    """What is folded well narrows the suspicion down; behind the last of it, nothing is said before an epoch."""
    isolation = PoisonIsolation.after([Attempt("u", 90)] * 3).done(11)
    assert (isolation.records_max, isolation.left, isolation.logs_attempts) == (11, 79, True)
    assert isolation.done(79) == PoisonIsolation(logs_attempts=False)
