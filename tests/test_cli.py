import json
import signal
import subprocess
import sys

import pytest

from bnviz import __version__
from bnviz.config import PRESETS
from bnviz.records.store import open_run
from tests.command_line import bnviz
from tests.waiting import until

QUICK = ["--dataset", "fashion-mnist-sample", "--device", "cpu"]


def test_run_prints_one_document_with_everything_promised():
    done = bnviz("run", *QUICK, "--variants", "note,builtin", "--steps", 25, "--seed", 3, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["config"]["seed"] == 3
    assert document["device"] == "cpu"
    assert document["dataset"] == {
        "name": "fashion-mnist-sample", "origin": "sample", "train": 6000, "test": 1000,
    }  # fmt: skip
    assert document["seconds"] > 0
    assert list(document["variants"]) == ["note", "builtin"]
    for entry in document["variants"].values():
        assert entry["steps"] == 25
        assert [step for step, _loss in entry["loss"]] == list(range(1, 26))
        assert entry["ms_per_step"] > 0
        for mode in ("train_mode", "eval_mode"):
            assert 0 <= entry[mode]["accuracy"] <= 1
            assert entry[mode]["batch_size"] == 16
        assert entry["kept_bytes"] >= 0
        assert entry["graph_nodes"] >= 0
        assert entry["stopped"] is None
    assert document["variants"]["note"]["graph_nodes"] > 0


def test_losses_are_at_most_two_hundred_points():
    done = bnviz("run", *QUICK, "--variants", "none", "--steps", 450, "--batch-size", 4, "--json")
    losses = json.loads(done.stdout)["variants"]["none"]["loss"]
    assert 100 <= len(losses) <= 200


def test_without_json_a_small_table_is_printed_and_progress_goes_to_stderr():
    done = bnviz("run", *QUICK, "--variants", "builtin", "--steps", 5)
    assert done.stdout.split()[0] == "variant"
    assert "builtin" in done.stdout
    assert "steps" in done.stderr


def test_a_run_can_be_saved_and_its_config_used_again(tmp_path):
    done = bnviz(
        "run", *QUICK, "--steps", 12, "--momentum", "0.3", "--save", tmp_path / "one", "--json"
    )
    assert done.exit_code == 0, done.stderr
    assert open_run(tmp_path / "one").summary == json.loads(done.stdout)
    again = bnviz("run", "--config", tmp_path / "one" / "config.json", "--json")
    one, other = (json.loads(d.stdout)["variants"]["builtin"]["loss"] for d in (done, again))
    assert one == other


def test_gradients_are_recorded_on_request_and_their_cost_is_in_the_document(tmp_path):
    config = tmp_path / "one" / "config.json"
    few = ("run", *QUICK, "--variants", "builtin", "--steps", 12)
    asked = bnviz(*few, "--gradients", "--save", config.parent, "--json")
    assert asked.exit_code == 0, asked.stderr
    assert 0 < json.loads(asked.stdout)["gradients_share"] < 1
    assert len(open_run(config.parent).history["gradients-builtin"]) >= 1
    for options in (few, ("run", "--config", config, "--no-gradients")):
        document = json.loads(bnviz(*options, "--json").stdout)
        assert document["gradients_share"] is None
        assert document["config"]["gradients"] is False


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_run(preset):
    done = bnviz("run", "--preset", preset, *QUICK, "--steps", 3, "--json")
    assert done.exit_code == 0, done.stderr
    assert tuple(json.loads(done.stdout)["variants"]) == PRESETS[preset].config().variants


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-size", "0"], ["batch_size", "'0'", "at least 1"]),
        (["--batch-size", "many"], ["batch_size", "'many'"]),
        (["--batch-size", "1"], ["batch_size", "one value per channel"]),
        (["--batch-size", "4096", "--dataset", "fashion-mnist-sample", "--momentum", "2"],
         ["momentum", "'2'"]),
        (["--eps", "0"], ["eps", "more than 0"]),
        (["--momentum", "1.5"], ["momentum", "at most 1"]),
        (["--variants", "builtn"], ["variants", "did you mean 'builtin'"]),
        (["--device", "cudda"], ["device", "auto, cpu, cuda, mps"]),
        (["--preset", "best"], ["preset", "corrected"]),
        (["--config", "absent.json"], ["absent.json", "cannot be read"]),
        (["--steps", "5", "--epochs", "1"], ["epochs, steps", "one of them"]),
        (["--bach-size", "4"], ["--bach-size"]),
    ],
    ids=lambda v: " ".join(v)[:40],
)  # fmt: skip
def test_bad_input_is_status_2_and_one_clear_line(arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "bnviz", "run", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in line


def test_cuda_asked_for_and_absent_is_one_clear_line():
    import torch

    if torch.cuda.is_available():
        assert bnviz("run", *QUICK[:2], "--device", "cuda", "--steps", 2).exit_code == 0
        return
    done = bnviz("run", *QUICK[:2], "--device", "cuda", "--steps", 2)
    assert done.exit_code == 2
    assert "device: got 'cuda'" in done.stderr


def test_a_bad_save_folder_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    done = bnviz("run", *QUICK, "--steps", 5, "--save", tmp_path / "file" / "run")
    assert done.exit_code == 2
    assert "cannot be stored" in done.stderr


def test_a_full_disk_is_one_message_and_the_results_are_still_printed(tmp_path, monkeypatch):
    from bnviz.records import run_files

    write = run_files.write_atomically

    def full(path, content):
        if path.name != "config.json":
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(run_files, "write_atomically", full)
    done = bnviz("run", *QUICK, "--steps", 5, "--save", tmp_path / "one", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["variants"]["builtin"]["steps"] == 5
    assert "can no longer be stored" in done.stderr
    assert "No space left" in done.stderr


def test_ctrl_c_stops_cleanly_and_prints_what_was_reached(tmp_path):
    command = [sys.executable, "-m", "bnviz", "run", *QUICK, "--variants", "none"]
    command += ["--steps", "1000000", "--save", str(tmp_path / "one"), "--json"]
    table = tmp_path / "one" / "steps-none.arrow"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            until(
                lambda: process.poll() is not None or (table.exists() and table.stat().st_size),
                seconds=180,
            )
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    document = json.loads(out)
    assert document["variants"]["none"]["steps"] >= 20
    assert open_run(tmp_path / "one").summary == document


def test_replay_prints_an_entry_for_each_estimator_of_the_recorded_run(on_the_sample):
    done = bnviz("replay", "recorded", "--momentum", "0.9,0.01,none,population", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["run"], document["variant"], document["step"]) == ("recorded", "builtin", 400)
    assert document["dataset"]["test"] == 1000
    entries = {entry["momentum"]: entry for entry in document["estimators"]}
    assert list(entries) == [0.9, 0.01, "none", "population"]
    for entry in entries.values():
        assert 0 < entry["accuracy"] < 1
        assert set(entry["layers"]) == {"conv1", "conv2", "fc1", "fc2"}
    assert entries["population"]["mean_error"] == 0
    # The average since step 1 remembers weights that are long gone.
    assert entries["none"]["mean_error"] > entries[0.9]["mean_error"] > 0
    assert entries["population"]["accuracy"] > entries["none"]["accuracy"]
    assert "sample" in done.stderr


def test_replay_of_a_variant_at_an_earlier_step_as_a_table(on_the_sample):
    done = bnviz("replay", "recorded", "--variant", "note", "--step", 100, "--momentum", "0.5,none")
    assert done.exit_code == 0, done.stderr
    title, head, *rows = done.stdout.splitlines()
    assert title == "recorded, note, step 100"
    assert head.split() == ["momentum", "accuracy", "mean", "error", "var", "error"]
    assert [row.split()[0] for row in rows] == ["0.5", "none"]
    assert all(len(row.split()) == 4 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recorded", "--momentum", "0.9,fast"], ["momentum", "'fast'", "0 to 1"]),
        (["recorded", "--momentum", "1.5"], ["momentum", "1.5", "0 to 1"]),
        (["nowhere"], ["run", "'nowhere'", "recorded"]),
        (["recorded", "--variant", "fused"], ["variant", "'fused'", "note, composite, builtin"]),
        (["recorded", "--step", "7"], ["step", "7", "20, 100, 400"]),
        (["recorded", "--step", "last"], ["step", "'last'", "whole number"]),
    ],
    ids=lambda v: " ".join(v)[:40],
)
def test_bad_input_of_replay_is_status_2_and_one_clear_line(arguments, words):
    done = bnviz("replay", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in line


def test_replay_without_a_run_is_status_2_and_one_clear_line():
    done = subprocess.run(
        [sys.executable, "-m", "bnviz", "replay"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert "RUN" in line


def test_replay_of_a_run_that_was_cut_is_status_2_and_says_what_to_do(tmp_path):
    folder = tmp_path / "cut"
    assert bnviz("run", *QUICK, "--variants", "none,builtin", "--steps", 25, "--save", folder,
                "--json").exit_code == 0  # fmt: skip
    table, weights = folder / "steps-builtin.arrow", folder / "checkpoints/25-builtin.safetensors"
    whole, summary = table.read_bytes(), (folder / "summary.json").read_bytes()
    table.write_bytes(whole[:2000])
    done = bnviz("replay", folder)
    assert done.exit_code == 2
    assert "steps-builtin.arrow cannot be read" in done.stderr
    (folder / "summary.json").unlink()
    done = bnviz("replay", folder)
    assert done.exit_code == 2
    assert "builtin ends at step 0" in done.stderr
    assert "Choose another run" in done.stderr
    table.write_bytes(whole)
    (folder / "summary.json").write_bytes(summary)
    weights.write_bytes(weights.read_bytes()[:-5000])
    done = bnviz("replay", folder)
    assert done.exit_code == 2
    assert "25-builtin.safetensors cannot be read" in done.stderr
    for path in weights.parent.glob("*"):
        path.unlink()
    done = bnviz("replay", folder)
    assert done.exit_code == 2
    assert "No weights of builtin are stored" in done.stderr
    done = bnviz("replay", folder, "--variant", "none")
    assert done.exit_code == 2
    assert "variant: got 'none'; allowed: builtin" in done.stderr


def test_data_names_source_counts_and_checksum(dataset):
    done = bnviz("data", "--json")
    document = json.loads(done.stdout)
    assert (document["train"], document["test"]) == (60_000, 10_000)
    assert document["sha256"] == dataset.sha256
    text = bnviz("data").stdout
    assert dataset.origin in text
    assert dataset.sha256 in text


def test_version():
    assert bnviz("--version").stdout.strip() == f"bnviz {__version__}"


def test_modes_prints_both_and_where_they_part(on_the_sample):
    done = bnviz("modes", "recorded", "--batch-size", 4, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["variant"], document["step"], document["batch_size"]) == ("builtin", 400, 4)
    assert sum(document["pairs"].values()) == document["images"] == 1000
    right = document["pairs"]["both"] + document["pairs"]["only_eval"]
    assert document["accuracy"]["eval"] == pytest.approx(right / 1000)
    assert document["accuracy"]["train"] < document["accuracy"]["eval"], "three neighbours are few"
    drift = document["drift"]
    assert list(drift) == ["conv1", "conv2", "fc1", "fc2"]
    assert drift["conv1"] < drift["fc2"]
    table = bnviz("modes", "recorded", "--variant", "none", "--checkpoint", 20)
    assert table.exit_code == 0 and "train mode" in table.stdout and "conv1" not in table.stdout


def test_recalibrate_prints_before_and_after(on_the_sample):
    done = bnviz("recalibrate", "recorded", "--batches", 20, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["images"] == 2000
    assert document["accuracy"]["after"] > document["accuracy"]["before"]
    assert "after 2,000 images" in bnviz("recalibrate", "recorded", "--batches", 20).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["modes", "recorded", "--batch-size", "1"], ["batch_size", "got 1", "2 or more"]),
        (["modes", "recorded", "--batch-size", "0"], ["batch_size", "got 0", "2 or more"]),
        (["modes", "recorded", "--checkpoint", "7"], ["step", "7", "20, 100, 400"]),
        (["modes", "recorded", "--variant", "fused"], ["variant", "'fused'"]),
        (["recalibrate", "recorded", "--variant", "none"], ["variant", "'none'"]),
        (["recalibrate", "recorded", "--batches", "700"], ["batches", "700", "at most 60"]),
        (["recalibrate", "recorded", "--batches", "0"], ["batches", "0", "1 or more"]),
        (["recalibrate", "recorded", "--batches", "many"], ["batches", "'many'", "whole number"]),
    ],
    ids=lambda v: " ".join(v)[:40],
)
def test_bad_input_of_modes_and_recalibrate_is_one_clear_line(on_the_sample, arguments, words):
    done = bnviz(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()[-1:]
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    "words",
    ["quirks --steps x", "log --epochs x", "modes recorded --batch-size x", "recalibrate nothing",
     "replay nothing", "check nothing:X", "memory --steps x", "run --lr x"],
)  # fmt: skip
def test_a_wrong_argument_is_refused_before_torch_is_loaded(words):
    """It once took four seconds to say so."""
    code = (
        "import sys; from bnviz.cli import main\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (2, "False"), done.stderr


def test_without_a_command_the_help_is_printed_and_no_empty_error():
    done = subprocess.run(
        [sys.executable, "-m", "bnviz"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr
    assert "Error" not in done.stderr
