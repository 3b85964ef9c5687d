"""Record what is shipped in bnviz/assets/note: the bug bench and the replayed log.

    python -m scripts.record_note [quirks] [log]

With the real Fashion-MNIST; the bench takes some seven minutes on two cores, the log as long.
"""

import sys
from dataclasses import replace

from bnviz import data
from bnviz.commands.showing import progress_bar
from bnviz.train.note_recorded import BENCH_FILE, FOLDER, LOG_FILE, made
from bnviz.train.steps import leave_one_core_free


def main() -> None:
    wanted = sys.argv[1:] or ["quirks", "log"]
    if data.load().is_sample:
        raise SystemExit("The full data set is needed: " + " ".join(data.load().refused))
    leave_one_core_free()
    FOLDER.mkdir(exist_ok=True)
    if "quirks" in wanted:
        from bnviz.train.quirk_bench import run_bench

        with progress_bar("quirks") as tell:
            bench = run_bench(progress=tell)
        BENCH_FILE.write_text(replace(bench, made=made("python -m bnviz quirks")).to_json() + "\n")
    if "log" in wanted:
        from bnviz.train.note_log import replay_log

        with progress_bar("log") as tell:
            log = replay_log(5, tell)
        LOG_FILE.write_text(
            replace(log, made=made("python -m bnviz log --epochs 5")).to_json() + "\n"
        )


if __name__ == "__main__":
    main()
