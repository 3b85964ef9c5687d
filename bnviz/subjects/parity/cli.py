"""``python -m bnviz parity`` and ``python -m bnviz check``: layers compared with torch's."""

import math
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnviz.command_line import AsJson, print_result, progress_bar, refusing
from bnviz.i18n import _
from bnviz.subjects.parity.find_class import find_class

if TYPE_CHECKING:
    import pandas as pd

    from bnviz.subjects.parity.causes import Examination
    from bnviz.subjects.parity.parity_report import Proof

COLUMNS = (
    "name", "group", "dtype", "mode", "agrees", "output_difference", "gradient_difference",
    "buffer_difference", "of_tolerance", "differs_in", "detail",
)  # fmt: skip

SHOWN = 8
"""Cases of a kind that the table names one by one."""


def parity(as_json: AsJson = False) -> None:
    """Compare this project's layers with torch's in every case; status 1 if one differs."""
    from bnviz.nn.variants import VARIANTS
    from bnviz.subjects.parity.parity_report import hand_written, prove
    from bnviz.training.steps import leave_one_core_free

    leave_one_core_free()
    variants = [key for key in hand_written() if VARIANTS[key].agrees]
    began, proofs = time.monotonic(), []
    with progress_bar(_("cases")) as report_progress:
        for number, variant in enumerate(variants):
            proofs.append(prove(variant, _part(report_progress, number, len(variants))))
    document = _parity_document(proofs, time.monotonic() - began)
    print_result(document, as_json, _parity_table)
    if not document["passed"]:
        raise typer.Exit(1)


def _parity_document(proofs: "list[Proof]", seconds: float) -> dict[str, Any]:
    """The document of ``bnviz parity --json``."""
    rows = [
        {**row, "name": f"{e.name}: {row['name']}"}
        for proof in proofs for e in proof.examinations for row in _rows(e.frame)
    ]  # fmt: skip
    costs = {
        proof.variant: {
            "shape": proof.shape,
            "saved_bytes": proof.own_bytes,
            "reference_saved_bytes": proof.reference_bytes,
            "ms": proof.timing.own_ms,
            "reference_ms": proof.timing.reference_ms,
            "time_ratio": proof.timing.ratio,
        }
        for proof in proofs
    }
    return {
        "passed": all(proof.passed for proof in proofs),
        "agree": sum(row["agrees"] is True for row in rows),
        "seconds": seconds,
        "costs": costs,
        "cases": rows,
    }


def check(
    layer: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help=_("A torch.nn.Module of your own."))
    ],
    reference: Annotated[
        str | None,
        typer.Option(help=_("What to compare it with; torch.nn.BatchNorm1d or 2d, as it takes.")),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a layer of your own with torch's and name each difference; status 1 if it differs."""
    with refusing(), redirect_stdout(sys.stderr):  # a reader's module may print
        own = find_class(layer)
        other = None if reference is None else find_class(reference, "reference")
    from bnviz.subjects.parity.causes import examine
    from bnviz.training.steps import leave_one_core_free

    leave_one_core_free()
    with refusing(), progress_bar(_("cases")) as report_progress:
        found = examine(own, other, progress=report_progress)
    print_result(_check_document(layer, found), as_json, lambda _document: _check_table(found))
    if not found.passed:
        raise typer.Exit(1)


def _part(
    report_progress: Callable[[int, int], None], number: int, of: int
) -> Callable[[int, int], None]:  # fmt: skip
    """The progress of the `number`-th of `of` parts of the same size."""
    return lambda done, parts: report_progress(number * parts + done, of * parts)


def _rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """The cases as JSON takes them: None for what is not measured or no finite number."""
    rows = []
    for row in frame[list(COLUMNS)].to_dict("records"):
        row["agrees"] = None if row["agrees"] not in (True, False) else bool(row["agrees"])
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                row[name] = None
        rows.append({str(name): value for name, value in row.items()})
    return rows


def _check_document(layer: str, found: "Examination") -> dict[str, Any]:
    """The document of ``bnviz check --json``."""
    dims = max(found.fingerprints)
    own, other = found.fingerprints[dims]
    return {
        "class": layer,
        "reference": found.reference,
        "passed": found.passed,
        "causes": [{"cause": c.code, "sentence": c.sentence} for c in found.causes],
        "fingerprint": {
            name: {"own": own[name], "reference": other[name], "same": own[name] == other[name]}
            for name in own
        },
        "cases": _rows(found.frame),
    }


def _parity_table(document: dict[str, Any]) -> str:
    """Cases by layer and group, what differs, and what the layers cost."""
    lines = _group_lines(
        [{**row, "group": f"{row['name'].split(':')[0]}, {row['group']}"} for row in document["cases"]]
    )  # fmt: skip
    lines += _detail_lines(document["cases"])
    said = _(
        "{variant}: keeps {saved_bytes:,} bytes for backward at {size}, torch "
        "{reference_saved_bytes:,}; takes {time_ratio:.2f} times as long ({ms:.2f} ms, torch "
        "{reference_ms:.2f} ms)"
    )
    for variant, cost in document["costs"].items():
        size = "x".join(map(str, cost["shape"]))
        lines.append(said.format(variant=variant, size=size, **cost))
    done = _("{agree} of {count} cases agree, in {seconds:.1f} s")
    return "\n".join([*lines, done.format(**document, count=len(document["cases"]))])


def _check_table(found: "Examination") -> str:
    """Fingerprint, cases by group, what differs and why."""

    rows = _rows(found.frame)
    measured = [row["agrees"] for row in rows if row["agrees"] is not None]
    verdict = (
        _("{name} does what {reference} does: {agree} of {measured} cases agree")
        if found.passed
        else _("{name} differs from {reference}: {agree} of {measured} cases agree")
    ).format(
        name=found.name, reference=found.reference, agree=sum(measured), measured=len(measured)
    )
    causes = [f"{cause.code}: {cause.sentence}" for cause in found.causes]
    lines = [*_fingerprint_lines(found), "", *_group_lines(rows), *_detail_lines(rows), ""]
    return "\n".join([*lines, verdict, *causes])


def _fingerprint_lines(found: "Examination") -> list[str]:
    """A line a property: what the layer does, what the reference does, whether that is the same."""
    from bnviz.subjects.parity.fingerprint import PROPERTIES, in_words

    own, other = found.fingerprints[max(found.fingerprints)]
    table = [(_("property"), found.name, found.reference, _("same"))]
    for name, (label, _experiment) in PROPERTIES.items():
        same = _("yes") if own[name] == other[name] else _("NO")
        table.append((_(label), in_words(name, own[name]), in_words(name, other[name]), same))
    widths = [max(len(row[k]) for row in table) for k in range(3)]
    return [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]])
        for row in table
    ]


def _group_lines(rows: list[dict[str, Any]]) -> list[str]:
    """How many cases of each group agree, and their largest share of the tolerance."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    width = max(map(len, groups))
    lines = [f"{_('group'):<{width}} {_('cases'):>6} {_('agree'):>6} {_('not measured'):>13} {_('of tolerance'):>13}"]  # fmt: skip
    for group in groups:
        own = [row for row in rows if row["group"] == group]
        agree = sum(row["agrees"] is True for row in own)
        missing = sum(row["agrees"] is None for row in own)
        shares = [row["of_tolerance"] for row in own if row["of_tolerance"] is not None]
        lines.append(
            f"{group:<{width}} {len(own):>6} {agree:>6} {missing:>13} {max(shares, default=0):>13.3g}"
        )
    return lines


def _detail_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The first cases that do not agree, each with its reason, and how many more there are."""
    lines = []
    for agrees, words in ((False, _("differs")), (None, _("not measured"))):
        left = [row for row in rows if row["agrees"] is agrees]
        lines += [f"{words}: {row['name']}: {row['detail']}" for row in left[:SHOWN]]
        if len(left) > SHOWN:
            more = _("{words}: {n} more; --json lists them all")
            lines.append(more.format(words=words, n=len(left) - SHOWN))
    return lines
