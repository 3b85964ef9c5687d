"""Every page and view in Chromium: how high it is, its charts, and how soon the first is drawn.

    python benchmarks/pages.py [--rounds 1] [--json]

A server of its own shows the recorded run, in a window of 1440 by 1250 and in one of 420 by 900. Each
view is chosen by a click, after the last view of its page was opened by its address; seconds are from
that click to the first chart that is drawn for it, the median over the rounds. The limits are those
of `scripts.page_heights`, which a browser test asserts.
"""

import statistics
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from browser import chromium
from common import parser, show

from scripts.page_heights import HELPERS, SIZES, Look, looks, page_files
from scripts.serving import serving


def measure(url: str, rounds: int) -> list[Look]:
    """All views at both sizes, the seconds as medians."""
    found: dict[tuple[str, int], list[Look]] = {}
    with chromium() as browser:
        for _round in range(rounds):
            for size in SIZES:
                page = browser.new_context(viewport=size).new_page()
                page.add_init_script(HELPERS)
                for look in (each for file in page_files() for each in looks(page, url, file)):
                    found.setdefault((look.name, look.width), []).append(look)
                page.context.close()
    return [_median(each) for each in found.values()]


def _median(several: list[Look]) -> Look:
    seconds = [look.seconds for look in several if look.seconds is not None]
    return replace(several[-1], seconds=statistics.median(seconds) if seconds else None)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=1)
    args = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        found = measure(server.url, args.rounds)
    show([{**asdict(look), "over": "; ".join(look.complaints())} for look in found], args.json)


if __name__ == "__main__":
    main()
