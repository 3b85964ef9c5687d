"""The thread that measures."""

import threading
import time
from functools import partial

import pytest

from bnviz.errors import RunError
from bnviz.training.tasks import Measurement, Measurements
from tests import waiting

until = partial(waiting.until, seconds=20)


def parts(gate, count=4):
    """Work that waits at each part until it may go on."""

    def work(progress):
        for done in range(count):
            progress(done, count)
            gate.acquire(timeout=20)
        return "found"

    return work


def test_a_measurement_says_how_far_it_is_and_how_long_it_will_take():
    gate = threading.Semaphore(0)
    measured = Measurement(parts(gate))
    until(lambda: measured.parts == 4)
    assert (measured.done, measured.seconds_left, measured.going_on) == (0, None, True)
    time.sleep(0.2)
    gate.release()
    until(lambda: measured.done == 1)
    assert 0.3 < measured.seconds_left < 2  # three parts of 0.2 s and a little
    gate.release(3)
    until(lambda: not measured.going_on)
    assert (measured.found, measured.error) == ("found", None)


def test_what_nobody_wants_ends_before_its_next_part_and_leaves_no_error():
    gate = threading.Semaphore(0)
    measured = Measurement(parts(gate))
    until(lambda: measured.parts == 4)
    measured.stop()
    gate.release()
    measured.join(20)
    assert not measured.going_on
    assert (measured.found, measured.error, measured.done) == (None, None, 0)


@pytest.mark.parametrize(
    ("raised", "said"), [(RunError("Gone."), "Gone."), (OSError("full"), "OSError: full")]
)
def test_a_measurement_that_fails_says_why(raised, said, capsys):
    def work(_progress):
        raise raised

    measured = Measurement(work)
    until(lambda: not measured.going_on)
    assert (measured.error, measured.found) == (said, None)


def test_one_is_at_work_at_a_time_and_two_tabs_share_it():
    gate, all_of_them = threading.Semaphore(0), Measurements()
    first = all_of_them.begin("run", "estimators", work=parts(gate))
    assert all_of_them.begin("run", "estimators", work=parts(gate)) is first
    second = all_of_them.begin("run", "map", work=parts(gate, 1))
    until(lambda: first.parts == 4)
    assert second.waiting and second.going_on
    all_of_them.cancel("run", "estimators")
    assert not first.going_on
    gate.release(2)
    until(lambda: not second.going_on)
    assert (second.found, second.waiting) == ("found", False)
    again = all_of_them.begin("run", "map", work=parts(gate, 1))
    assert again is not second
    assert again.found == "found", "what was found before stays until there is something newer"
    all_of_them.cancel("run", "map")
    assert all_of_them.get("run", "map").found == "found"
    gate.release()
    all_of_them.end_all()


def test_one_that_waits_can_be_cancelled_and_all_end_together():
    gate, all_of_them = threading.Semaphore(0), Measurements()
    first = all_of_them.begin("a", work=parts(gate))
    second = all_of_them.begin("b", work=parts(gate))
    until(lambda: first.parts == 4)
    first.stop()
    gate.release()
    all_of_them.end_all()
    assert not first.going_on and not second.going_on
    assert second.waiting
