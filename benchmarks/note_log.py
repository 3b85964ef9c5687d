"""Replay the note's printed log: batch 4, nn.BatchNorm, Adam, lr 0.01.

    python benchmarks/note_log.py [--epochs 1] [--seed 0] [--threads 1] [--json]

The note prints ``epoch 1, train_loss 0.194394`` and ``acc: 0.789400``. Its loss is a mean divided
by the batch size once more, and its accuracy is measured in train mode, each image in a batch
of three others. The same weights are then measured as they should be (`bnviz.subjects.note.printed_log`, which
``python -m bnviz log`` and the page The note show too).
"""

from common import parser, show, use_threads

from bnviz.subjects.note.printed_log import LARGE_BATCH, PRINTED, replay_log


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    args = options.parse_args(arguments)
    use_threads(args.threads)
    replay = replay_log(args.epochs, seed=args.seed, loops=False)
    rows = [
        {
            "epoch": row["epoch"],
            "mean CE": row["mean_loss"],
            "as printed": row["printed_loss"],
            "the note": printed.loss,
            "accuracy as measured": row["note_accuracy"],
            "the note ": printed.accuracy,
            f"train mode, batch {LARGE_BATCH}": row["large_batch_accuracy"],
            "eval mode": row["eval_accuracy"],
            "s": row["seconds"],
            "the note  ": printed.seconds,
        }
        for printed, row in zip(PRINTED, replay.frame.to_dict("records"), strict=False)
    ]
    show(rows, args.json)


if __name__ == "__main__":
    main()
