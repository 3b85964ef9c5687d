"""The machine behind runs, measurements and the memory experiment."""

import threading
import time

import pytest

from bnviz.errors import RunError
from bnviz.training.worker import Cancelled, Mailbox, Worker


class Counting(Worker):
    """Counts up until it is stopped, and answers in between."""

    def __init__(self, fails=None):
        super().__init__("counting")
        self.count, self.over, self.fails = 0, False, fails

    def work(self):
        while not self.stopping:
            self.answer()
            self.count += 1
            if self.fails is not None:
                raise self.fails
            self.sleep(0.01)

    def at_end(self):
        self.over = True


def test_a_question_is_answered_by_the_thread_that_works():
    worker = Counting()
    worker.start()
    assert worker.post(threading.get_ident).result(20) == worker._thread.ident
    with pytest.raises(ZeroDivisionError):
        worker.post(lambda: 1 / 0).result(20)
    at = worker.count
    assert worker.post(lambda: worker.count).result(20) >= at, "a bad question ends nothing"
    worker.stop()
    worker.join(20)
    assert worker.over and worker.error is None


@pytest.mark.parametrize(
    ("fails", "said"),
    [(RunError("Gone."), "Gone."), (OSError("full"), "OSError: full"), (Cancelled(), None)],
)
def test_how_a_work_ends_is_said_in_one_line(fails, said, capsys):
    worker = Counting(fails)
    worker.start()
    worker.join(20)
    assert worker.over
    assert worker.error == said
    assert ("Traceback" in capsys.readouterr().err) is isinstance(fails, OSError)


def test_nobody_waits_for_an_answer_that_will_not_come():
    mailbox = Mailbox()
    earlier = mailbox.post(lambda: 1)
    mailbox.refuse(RunError("It has ended."))
    for future in (earlier, mailbox.post(lambda: 2)):
        with pytest.raises(RunError, match=r"It has ended\."):
            future.result(0)


def test_a_question_that_nobody_waits_for_is_not_asked():
    mailbox, called = Mailbox(), []
    mailbox.post(lambda: called.append("first")).cancel()
    mailbox.post(lambda: called.append("second"))
    mailbox.answer()
    assert called == ["second"]


def test_sleep_ends_early_when_something_is_posted_or_the_work_is_to_stop():
    mailbox = Mailbox()
    assert not mailbox.sleep(0.01)
    for wake in (lambda: mailbox.post(int), mailbox.stop):
        began = time.monotonic()
        timer = threading.Timer(0.05, wake)
        timer.start()
        assert mailbox.sleep(20)
        assert time.monotonic() - began < 10
        mailbox.answer()
