"""Stacks of an epoch from record files, in an order drawn from a random generator.

All draws are those of NumPy, so that every backend of Keras gets the same stacks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from thorax.preprocessing.records import CaseRecord

INTERLEAVED_CASES = 16
"""Cases that are open at a time; their slices alternate, so that a batch has many patients."""

SHUFFLE_BUFFER = 256
"""Stacks in the shuffle buffer; cases and the slices of a case are shuffled before."""

Item = TypeVar("Item")

Integer = TypeVar("Integer", np.int16, np.uint8)

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stack:
    """A slice with its neighbours, and its truth.

    Args:
        planes: HU, int16, shape ``(H, W, 2k+1)``.
        fractions: Area fractions of the centre slice, 0..255, shape ``(H, W, R)``.
    """

    planes: NDArray[np.int16]
    fractions: NDArray[np.uint8]


@dataclass(frozen=True)
class StackChoice:
    """Slices that make a stack.

    Args:
        case: Number of the case.
        centre: Index of the centre slice; of two slices, the second one is above it.
        thickness: Slices per mean.
    """

    case: int
    centre: int
    thickness: int = 1

    def plane_indices(self, depth: int, *, context: int) -> Indices:
        """Return the slices of each position of the stack.

        The first and the last slice are repeated beyond the ends of the scan.

        Args:
            depth: Slices of the case.
            context: Neighbours on each side.

        Returns:
            Indices of shape ``(2k+1, thickness)``.

        Example:
            >>> StackChoice(case=0, centre=1, thickness=2).plane_indices(5, context=1).tolist()
            [[0, 0], [1, 2], [3, 4]]
        """
        within = np.arange(self.thickness) - (self.thickness - 1) // 2
        around = np.arange(-context, context + 1) * self.thickness
        return np.clip(self.centre + around[:, None] + within, 0, depth - 1)


@dataclass(frozen=True)
class Sampling:
    """Rules by which the slices of a case become stacks.

    Args:
        context: Neighbouring slices on each side.
        rare_region: Channel of the rare region; None without oversampling.
        rare_region_share: Share of the stacks of a case that contain it; 0: no oversampling.
        thick_slices: Probability that a stack has slices of twice or three times the thickness.
    """

    context: int
    rare_region: int | None = None
    rare_region_share: float = 0.0
    thick_slices: float = 0.0


def epoch_stacks(
    read: Callable[[int], CaseRecord],
    counts: Sequence[int],
    sampling: Sampling,
    generator: np.random.Generator,
    make: Callable[[CaseRecord, StackChoice], Item],
) -> Iterator[Item]:
    """Yield the stacks of an epoch; at most `INTERLEAVED_CASES` records are read at a time.

    Args:
        read: Function from the number of a case to its record.
        counts: Number of stacks of each case.
        sampling: Rules for all cases.
        generator: Source of all draws.
        make: Function from a record and a choice of its slices to what is yielded.

    Raises:
        InputError: A record cannot be read, or has fewer slices than stacks.
    """
    order = generator.permutation(len(counts))
    seeds = generator.integers(2**31, size=len(counts))
    shuffle = np.random.default_rng(generator.integers(2**31))

    def case_stacks(case: int) -> Iterator[Item]:
        record = read(case)
        drawn = np.random.default_rng(seeds[case])
        centres = _centres(record, counts[case], sampling, drawn)
        thicknesses = _thicknesses(counts[case], sampling.thick_slices, drawn)
        for centre, thickness in zip(centres, thicknesses, strict=True):
            yield make(record, StackChoice(case, int(centre), int(thickness)))

    cases = (case_stacks(int(case)) for case in order)
    yield from shuffled(interleaved(cases, INTERLEAVED_CASES), SHUFFLE_BUFFER, shuffle)


def interleaved(sources: Iterator[Iterator[Item]], size: int) -> Iterator[Item]:
    """Yield one item of each of ``size`` sources in turn; the next source replaces an empty one.

    Example:
        >>> "".join(interleaved(iter([iter("abc"), iter("d"), iter("ef")]), 2))
        'adbecf'
    """
    active = list(islice(sources, size))
    position = 0
    while active:
        position %= len(active)
        try:
            yield next(active[position])
            position += 1
        except StopIteration:
            following = next(sources, None)
            if following is None:
                del active[position]
            else:
                active[position] = following


def shuffled(items: Iterator[Item], size: int, generator: np.random.Generator) -> Iterator[Item]:
    """Yield items in random order with a buffer of ``size`` items.

    Example:
        >>> sorted(shuffled(iter("abcde"), 3, np.random.default_rng(0)))
        ['a', 'b', 'c', 'd', 'e']
    """
    buffer = list(islice(items, size))
    for item in items:
        drawn = int(generator.integers(size))
        buffer[drawn], out = item, buffer[drawn]
        yield out
    for drawn in generator.permutation(len(buffer)):
        yield buffer[drawn]


def make_stack(record: CaseRecord, choice: StackChoice, *, context: int) -> Stack:
    """Return a stack of slices, or of means over adjacent slices.

    Args:
        record: The case.
        choice: Its slices.
        context: Neighbours on each side.
    """
    inside = choice.plane_indices(len(record.planes), context=context)
    planes = _rounded_mean(record.planes[inside], axis=1)
    fractions = _rounded_mean(record.fractions[inside[context]], axis=0)
    return Stack(np.moveaxis(planes, 0, -1), fractions)


def _centres(
    record: CaseRecord, count: int, sampling: Sampling, generator: np.random.Generator
) -> Indices:
    """Draw the centre slices of an epoch, in order."""
    depth = len(record.planes)
    order = generator.permutation(depth)
    if not sampling.rare_region_share:
        return order[:count]
    has_region = np.any(record.fractions[order][..., sampling.rare_region], axis=(1, 2))
    rare, others = order[has_region], order[~has_region]
    target = count if not len(others) else max(1, round(sampling.rare_region_share * count))
    target = target if len(rare) else 0
    chosen = np.concatenate([_repeated(rare, target), _repeated(others, count - target)])
    return generator.permutation(chosen)


def _repeated(indices: Indices, count: int) -> Indices:
    """Return the first ``count`` indices, starting over at the end."""
    return indices[np.arange(count) % max(1, len(indices))]


def _thicknesses(count: int, chance: float, generator: np.random.Generator) -> Indices:
    """Draw the slice thickness of each stack, in slices: 1, or 2 and 3 with equal chance."""
    drawn = generator.random(count)
    return np.where(drawn < chance / 2, 2, np.where(drawn < chance, 3, 1))


def _rounded_mean(integers: NDArray[Integer], *, axis: int) -> NDArray[Integer]:
    """Return the mean in the type of the integers."""
    if integers.shape[axis] == 1:
        return integers.squeeze(axis)
    return np.rint(integers.mean(axis=axis, dtype=np.float32)).astype(integers.dtype)
