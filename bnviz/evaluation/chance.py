"""When a difference is more than chance: one rule for pairs of accuracies and for runs over seeds.

The threshold is the same everywhere, 95 % two-sided: a difference counts when 0 lies outside of its
interval. Both rules compare pairs, because the same images or the same seed are on both sides.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

CONFIDENCE = 0.95
"""Of every interval; two-sided."""
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
# Student's t at CONFIDENCE for 1, 2, 3, … degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies on the same images; numbers, or arrays of one shape."""

    value: Any
    """Second less first, -1 to 1."""
    error: Any
    """Its standard error, 0 to 1."""
    clear: Any
    """Whether it is more than chance."""


def paired_difference(only_first: Any, only_second: Any, images: Any) -> Difference:
    """The difference of two accuracies, from the images that only one of both gets right.

    With b right in the second only and c in the first only, of n images, it is (b - c) / n with the
    variance (b + c - (b - c)² / n) / n²; images that both or none get right say nothing (McNemar
    1947, https://doi.org/10.1007/BF02295996). Whether it is clear is asked of |b - c| - 1: counts move
    in whole steps, and without this correction for continuity (Edwards 1948,
    https://doi.org/10.1007/BF02289261) four images in one direction would count.

    >>> found = paired_difference(10, 30, 1000)
    >>> print(f"{found.value:.3f} ± {found.error:.4f}", bool(found.clear))
    0.020 ± 0.0063 True
    """
    b, c = np.asarray(only_second, float), np.asarray(only_first, float)
    apart = b - c
    spread = np.sqrt(b + c - apart**2 / images)
    return Difference(apart / images, spread / images, np.abs(apart) - 1 > Z * spread)


def student_t(pairs: int) -> float:
    """Student's t at CONFIDENCE of so many `pairs`, so with one degree of freedom less.

    Of a single pair, which has no spread, that of two. Beyond the table it is the expansion of
    Abramowitz and Stegun, 26.7.5, to four terms.
    """
    freedom = max(pairs - 1, 1)
    if freedom <= len(_T):
        return _T[freedom - 1]
    terms = (
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
    )
    return Z + sum(term / freedom ** (k + 1) for k, term in enumerate(terms))


def half_width(spread: Any, pairs: Any) -> Any:
    """Half the width of the interval of a mean of `pairs` differences with that standard deviation.

    Numbers, or arrays of one shape; in the unit of `spread`. NaN of a single pair, whose `spread`
    is NaN.
    """
    return np.vectorize(student_t, otypes=[float])(pairs) * spread / np.sqrt(pairs)
