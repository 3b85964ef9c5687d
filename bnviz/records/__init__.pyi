from .history import History as History
from .history import Schema as Schema
from .history import Table as Table
from .moving_averages import replay as replay
from .schema import schemas as schemas
from .store import (
    RunWriter as RunWriter,
)
from .store import (
    StoredRun as StoredRun,
)
from .store import (
    find_run as find_run,
)
from .store import (
    list_runs as list_runs,
)
from .store import (
    open_run as open_run,
)
from .store import (
    recorded_run as recorded_run,
)
