"""The cases that a layer and its reference are compared in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

SHAPES = {
    2: ((8, 3), (2, 3), (7, 1), (64, 120), (33, 5), (1000, 2)),
    3: ((5, 3, 7), (2, 1, 2), (1, 3, 2), (8, 4, 33)),
    4: ((4, 3, 5, 6), (2, 1, 2, 2), (1, 3, 2, 2), (3, 5, 7, 1), (2, 64, 3, 3), (16, 6, 28, 28)),
}
"""(N, C), (N, C, L) and (N, C, H, W): one channel, two values, odd sizes, LeNet's first layer."""
TYPICAL = {dims: shapes[0] for dims, shapes in SHAPES.items()}
HALF_SHAPES = {2: ((8, 3), (16, 4)), 3: ((5, 3, 7),), 4: ((4, 3, 5, 6), (8, 6, 9, 9))}
TRAIN, EVAL, SEQUENCE = ("train",), ("eval",), ("train", "train", "train", "eval")
MODES = (TRAIN, EVAL, SEQUENCE)
OPTIONS: tuple[dict[str, Any], ...] = (
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
    {"momentum": None},
    {"momentum": 0.0},
    {"momentum": 0.1},
    {"momentum": 0.9},
    {"momentum": 1.0},
    {"eps": 1e-8},
    {"eps": 1e-3},
    {"eps": 0.5},
)


@dataclass(frozen=True)
class Case:
    """One comparison: a shape, a dtype, a sequence of modes, options, and what is fed."""

    name: str
    group: str
    """shapes, half precision, options or edge cases."""
    shape: tuple[int, ...]
    dtype: str
    """Of the inputs, as torch names it."""
    parameters: str
    """dtype of parameters and buffers."""
    modes: tuple[str, ...]
    """One forward and backward pass each."""
    options: tuple[tuple[str, Any], ...] = ()
    content: str = "random"
    """What the batches hold: random, constant, inf, nan, far or tiny."""
    layout: str = "contiguous"
    """How x lies in memory: contiguous, channels_last or strided."""
    fresh: bool = False
    """Whether the layers stay as built; else both get the same weights and statistics."""
    frozen: str = ""
    """What needs no gradient: x or parameters."""
    check: str = "numbers"
    """numbers, or what else is compared: refusal, checkpoint_out, checkpoint_in, dtype, copy."""

    @property
    def dims(self) -> int:
        """Number of dimensions of the input."""
        return len(self.shape)

    @property
    def mode(self) -> str:
        """The sequence in words: train, eval, or train ×3, eval."""
        trained = self.modes.count("train")
        if len(self.modes) < 2:
            return "".join(self.modes) or "–"
        return f"train ×{trained}, eval"


def cases(dims: Sequence[int] = (2, 3, 4)) -> list[Case]:
    """All cases for inputs of these numbers of dimensions, each with a name of its own.

    Shapes, dtypes, modes, options and edge cases; for all three over 200.
    """
    return [case for each in dims for make in (_shapes, _half, _options, _edges) for case in make(each)]  # fmt: skip


def _case(group: str, shape: tuple[int, ...], what: str = "", **settings: Any) -> Case:
    """A case whose name is made of all that sets it apart."""
    dtype = settings.pop("dtype", "float32")
    case = Case("", group, shape, dtype, settings.pop("parameters", dtype), **settings)
    place = {2: "fc", 3: "1d", 4: "conv"}[case.dims]
    parts = [f"{place} {'x'.join(map(str, shape))}", case.dtype]
    if case.parameters != case.dtype:
        parts.append(f"parameters {case.parameters}")
    parts += [f"{name}={value}" for name, value in case.options]
    parts += [part for part in (what, case.mode) if part not in ("", "–")]
    return replace(case, name=", ".join(parts))


def _shapes(dims: int) -> Iterator[Case]:
    for shape in SHAPES[dims]:
        for dtype in ("float32", "float64"):
            for modes in MODES:
                yield _case("shapes", shape, dtype=dtype, modes=modes)


def _half(dims: int) -> Iterator[Case]:
    for shape in HALF_SHAPES[dims]:
        for dtype in ("float16", "bfloat16"):
            for parameters in ("float32", dtype):
                for modes in MODES:
                    yield _case(
                        "half precision", shape, dtype=dtype, parameters=parameters, modes=modes
                    )


def _options(dims: int) -> Iterator[Case]:
    for options in OPTIONS:
        for dtype in ("float32", "float64"):
            yield _case(
                "options", TYPICAL[dims], dtype=dtype, modes=SEQUENCE, options=tuple(options.items())
            )  # fmt: skip


def _edges(dims: int) -> Iterator[Case]:
    shape = TYPICAL[dims]
    single = (1, shape[1], *[1] * (dims - 2))
    edge = "edge cases"
    yield _case(edge, single, "one value per channel", modes=TRAIN, check="refusal")
    yield _case(edge, single, "one value per channel", modes=EVAL)
    yield _case(edge, shape, "as built", modes=EVAL, fresh=True)
    yield _case(edge, shape, "as built", modes=SEQUENCE, fresh=True)
    for modes in (TRAIN, EVAL):
        # float64: 1 / sqrt(eps) = 316 makes an ulp of a float32 mean larger than its tolerance
        yield _case(edge, shape, "one channel constant", modes=modes, content="constant", dtype="float64")  # fmt: skip
        yield _case(edge, shape, "inf in the batch", modes=modes, content="inf")
        yield _case(edge, shape, "NaN in the batch", modes=modes, content="nan")
    yield _case(edge, shape, "far from 0", modes=SEQUENCE, content="far", dtype="float64")
    yield _case(edge, shape, "variance below eps", modes=SEQUENCE, content="tiny")
    yield _case(edge, shape, "x needs no gradient", modes=SEQUENCE, frozen="x")
    yield _case(edge, shape, "parameters need no gradient", modes=SEQUENCE, frozen="parameters")
    yield _case(edge, shape, "state_dict into the reference", modes=(), check="checkpoint_out")
    yield _case(edge, shape, "state_dict of the reference", modes=(), check="checkpoint_in")
    yield _case(edge, shape, ".to(float64)", modes=(), check="dtype")
    yield _case(edge, shape, "deepcopy after a step", modes=(), check="copy")
    yield _case(edge, shape, "every second value", modes=SEQUENCE, layout="strided")
    if dims == 4:
        yield _case(edge, shape, "channels last", modes=SEQUENCE, layout="channels_last")
