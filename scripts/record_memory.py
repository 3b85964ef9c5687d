"""Record the growth of processes that is shipped in bnviz/assets/memory.

    python -m scripts.record_memory

Takes about two minutes, on Linux with glibc; the page labels what is recorded.
"""

import datetime
import json
import os
import platform

from bnviz.subjects.memory.process_growth import RECORDED_PATH, process_growth


def main() -> None:
    frame = process_growth()
    library, version = platform.libc_ver()
    document = {
        "command": "python -m scripts.record_memory",
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores of {platform.machine()}, {library} {version}",
        "rows": frame.to_dict("records"),
    }
    RECORDED_PATH.parent.mkdir(exist_ok=True)
    RECORDED_PATH.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
