import time

import pytest

from bnviz.errors import ConfigError
from bnviz.records.schema import steps_table
from bnviz.records.store import open_run, runs_folder
from bnviz.training import jobs as jobs_module
from bnviz.training.jobs import Jobs, State
from tests.waiting import until


@pytest.fixture
def jobs():
    registry = Jobs()
    yield registry
    registry.stop_all()


@pytest.fixture
def start(jobs, short_config):
    def make(**changes):
        return jobs.start(short_config(**{"steps": 100_000, **changes}), runs_folder())

    return make


def test_a_job_runs_to_its_end_and_is_stored(start):
    job = start(steps=12, variants="builtin")
    until(lambda: job.ended)
    assert (job.state, job.error, job.warning) == (State.DONE, None, None)
    assert job.progress == 1.0
    assert job.summary["variants"]["builtin"]["eval_mode"]["images"] == 1000
    assert open_run(runs_folder() / job.id).summary == job.summary


def test_pause_steps_and_resume(start):
    job = start(variants="builtin")
    until(lambda: job.steps_done > 5)
    job.pause()
    until(lambda: job.state is State.PAUSED)
    at = job.steps_done
    assert len(job.history[steps_table("builtin")]) == at, "a pause shows all that was recorded"
    for count in (1, 25):
        job.step(count)
        at += count
        until(lambda at=at: job.state is State.PAUSED and job.steps_done == at)
    job.resume()
    until(lambda: job.steps_done > at + 5)
    assert job.steps_per_second >= 0


def test_a_run_rests_for_a_moment_when_it_gives_way(jobs, start, monkeypatch):
    monkeypatch.setattr(jobs_module, "YIELD_S", 0.5)
    job = start(variants="builtin")
    until(lambda: job.steps_done > 5)
    jobs.yield_cpu()  # whichever run the page shows
    at, began = job.steps_done, time.monotonic()
    until(lambda: job.steps_done > at + 1)  # the step that was being made is not taken back
    assert time.monotonic() - began > 0.4


def test_progress_has_a_rate_and_a_time_left(start):
    job = start(variants="builtin")
    until(lambda: job.steps_per_second > 0)
    assert job.seconds_left == pytest.approx(
        (job.total_steps - job.steps_done) / job.steps_per_second, rel=0.5
    )


def test_a_change_is_queued_and_recorded_with_its_step(start):
    job = start(variants="builtin")
    until(lambda: job.steps_done > 3)
    job.set(momentum=0.9)
    until(lambda: job.history.events)
    (event,) = job.history.events
    assert (event["name"], event["new"]) == ("momentum", 0.9)
    assert event["step"] > 0


def test_a_bad_change_is_refused_at_once_and_the_run_goes_on(start):
    job = start(variants="builtin")
    until(lambda: job.steps_done > 3)
    with pytest.raises(ConfigError, match="eps"):
        job.set(eps=0.0)
    at = job.steps_done
    until(lambda: job.steps_done > at)


def test_a_second_start_waits_with_its_place_and_begins_by_itself(jobs, start):
    first, second, third = start(), start(), start()
    until(lambda: first.state is State.RUNNING)
    assert (second.state, third.state) == (State.QUEUED, State.QUEUED)
    assert [jobs.place(job) for job in (first, second, third)] == [0, 1, 2]
    jobs.stop(second)
    assert second.state is State.STOPPED
    assert jobs.place(third) == 1
    jobs.stop(first)
    until(lambda: third.state is State.RUNNING)
    assert first.state is State.STOPPED
    assert len({first.id, second.id, third.id}) == 3


def test_stop_keeps_what_was_recorded(jobs, start):
    job = start(variants="builtin")
    until(lambda: job.steps_done > 20)
    jobs.stop(job)
    until(lambda: job.ended)
    stored = open_run(runs_folder() / job.id)
    assert len(stored.history[steps_table("builtin")]) == job.steps_done
    assert stored.checkpoints("builtin")[-1] == job.steps_done


def test_an_exception_in_the_thread_reaches_the_page_and_the_record_stays(start, monkeypatch):
    from bnviz.training.trainer import Trainer

    step = Trainer.step

    def failing(self):
        if self.step_count == 30:
            raise RuntimeError("cosmic ray")
        step(self)

    monkeypatch.setattr(Trainer, "step", failing)
    job = start(variants="builtin")
    until(lambda: job.ended)
    assert job.state is State.FAILED
    assert "RuntimeError: cosmic ray" in job.error
    assert "\n" not in job.error
    assert len(open_run(runs_folder() / job.id).history[steps_table("builtin")]) == 30


def test_what_cannot_run_here_fails_in_one_line_and_makes_no_folder(start):
    job = start(dataset="fashion-mnist-sample", batch_size=2, device="mps")
    until(lambda: job.ended)
    assert job.state is State.FAILED
    assert job.error.startswith("device: got 'mps'")
    assert not (runs_folder() / job.id).exists()


def test_an_unwritable_folder_is_a_warning_and_the_run_goes_on(jobs, short_config, tmp_path):
    (tmp_path / "file").write_text("")
    job = jobs.start(short_config(variants="builtin"), tmp_path / "file" / "runs")
    until(lambda: job.ended)
    assert job.state is State.DONE
    assert "BNVIZ_RUNS" in job.warning
    assert len(job.history[steps_table("builtin")]) == 12


def test_a_full_disk_is_a_warning_and_the_run_goes_on(start, monkeypatch):
    from bnviz.records import run_files

    def full(_path, _content):
        raise OSError(28, "No space left on device")

    job = start(variants="builtin")
    until(lambda: job.steps_done > 3)
    monkeypatch.setattr(run_files, "write_atomically", full)
    at = job.steps_done
    until(lambda: job.steps_done > at + 30 and job.warning)
    assert "No space left" in job.warning
    job.stop()
    until(lambda: job.ended)
    assert job.state is State.STOPPED
    assert job.summary["variants"]["builtin"]["steps"] == job.steps_done


def test_a_run_that_nobody_watches_ends_with_its_results(start, monkeypatch):
    monkeypatch.setattr(jobs_module, "UNWATCHED_S", 0.2)
    job = start(variants="builtin")
    until(lambda: job.ended)
    assert job.state is State.STOPPED
    assert "Nobody looked" in job.warning
    assert job.summary is not None


def test_stop_all_ends_every_thread(jobs, start):
    first, second = start(), start()
    until(lambda: first.state is State.RUNNING)
    jobs.stop_all()
    assert (first.state, second.state) == (State.STOPPED, State.STOPPED)
    assert not first._thread.is_alive()


def test_a_run_that_is_stopped_while_it_waits_leaves_nothing(jobs, start):
    """It once stayed in the list, getting ready for ever."""
    first, second = start(variants="builtin"), start(variants="builtin")
    until(lambda: first.steps_done > 0)
    assert (jobs.place(second), jobs.going_on) == (1, first)
    jobs.stop(second)
    assert second.never_began and jobs.all() == [first]
    assert not (runs_folder() / second.id).exists()
    jobs.stop(first)
    until(lambda: first.ended)
    assert jobs.going_on is None
    assert jobs.get(first.id) is first
