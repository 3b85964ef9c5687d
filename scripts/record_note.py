"""Record what is shipped in bnviz/assets/note: questions, ablation, replayed log.

    python -m scripts.record_note [questions] [quirks] [log]

With the real Fashion-MNIST; the bench takes some seven minutes on two cores, the log as long.
"""

import json
import sys
from dataclasses import replace

from bnviz import data
from bnviz.command_line import progress_bar
from bnviz.records.store import recorded_run
from bnviz.subjects.note.questions import accuracy_by_batch_size, estimator_accuracies
from bnviz.subjects.note.recorded import (
    ANSWERS_FILE,
    BENCH_FILE,
    FOLDER,
    LOG_FILE,
    STEP,
    VARIANT,
    made,
)
from bnviz.training.steps import leave_one_core_free


def main() -> None:
    wanted = sys.argv[1:] or ["questions", "quirks", "log"]
    if data.load().is_sample:
        raise SystemExit("The full data set is needed: " + " ".join(data.load().refused))
    leave_one_core_free()
    FOLDER.mkdir(exist_ok=True)
    if "questions" in wanted:
        record_answers()
    if "quirks" in wanted:
        from bnviz.subjects.note.ablation import run_bench

        with progress_bar("quirks") as report_progress:
            bench = run_bench(progress=report_progress)
        BENCH_FILE.write_text(replace(bench, made=made("python -m bnviz quirks")).to_json() + "\n")
    if "log" in wanted:
        from bnviz.subjects.note.printed_log import replay_log

        with progress_bar("log") as report_progress:
            log = replay_log(5, report_progress)
        LOG_FILE.write_text(
            replace(log, made=made("python -m bnviz log --epochs 5")).to_json() + "\n"
        )


def record_answers() -> None:
    """The questions on the recorded run, which is to be recorded before."""
    found: dict[str, object] = {
        measure.__name__: measure(recorded_run(), VARIANT, STEP).to_dict("records")
        for measure in (estimator_accuracies, accuracy_by_batch_size)
    }
    found["made"] = made("python -m scripts.record_note questions")
    ANSWERS_FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
