"""Exact greedy coreset selection (farthest point first) in blocks.

Plain greedy k-centre selection (Sener and Savarese 2018, as PatchCore uses it) updates the distance of every point
after every chosen centre: N x M x d multiplications and, worse, N x M memory reads. Here every point keeps an *upper
bound* of its distance, which only falls as centres are added. Points with a low bound cannot be the farthest, so only
a block of the points with the largest bounds is brought up to date (one matrix product), and centres are chosen inside
it for as long as its best point is farther than every bound outside. The result is the same set, in the same order, as
plain greedy selection.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK = 4096  # points per block: large enough to choose many centres from, small enough to stay in the cache
FAR = 100  # times their spread, points are from zero where squared distances as products lose the third digit
PRODUCTS = 2**19  # distances in memory at a time, so few that they stay in the cache


def greedy_coreset(
    points: Floats, count: int, *, block: int = BLOCK, advance: Callable[[int], None] | None = None
) -> Ints:
    """Choose `count` points so that the largest distance of any point to its nearest chosen one falls greedily.

    Args:
        points: float32 `(N, d)`, finite.
        count: how many to choose, 1 to N. Duplicates are chosen only when nothing else is left.
        block: points that are brought up to date together.
        advance: called with the number of centres chosen so far, now and then.

    Returns:
        int64 `(count,)` indices in the order of choice. The first is the point farthest from the mean; ties go to
        the lowest index.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"count must be from 1 to {len(points)}, not {count}")
    norms = np.einsum("nd,nd->n", points, points)  # (N,)
    middle = points.mean(axis=0)
    distance = float(middle @ middle)
    if distance > FAR**2 * (float(norms.mean()) - distance):  # the difference is the mean square of the deviations
        points, middle = points - middle, np.zeros_like(middle)
        norms = np.einsum("nd,nd->n", points, points)
    first = int(nearest_squared(points, norms, middle[None]).argmax())
    bounds = nearest_squared(points, norms, points[first : first + 1])  # (N,)
    bounds[first] = -1
    after_first = None if advance is None else lambda done: advance(done + 1)
    return np.append(first, greedy_more(points, norms, bounds, count - 1, block=block, advance=after_first))


def greedy_more(
    points: Floats,
    norms: Floats,
    bounds: Floats,
    count: int,
    *,
    block: int = BLOCK,
    covered: float = -1.0,
    advance: Callable[[int], None] | None = None,
) -> Ints:
    """Choose `count` more points after some that were chosen already, as `greedy_coreset` would go on.

    Args:
        points, norms: float32 `(N, d)` and their squared lengths `(N,)`.
        bounds: squared distance of every point to the nearest one chosen already `(N,)`, -1 for points that are no
            candidates (those chosen already are none); overwritten.
        count, block, advance: as in `greedy_coreset`; at least `count` points are candidates.
        covered: a squared distance; ends with fewer points once no candidate is farther than this from all chosen.
    """
    selection = _Selection(points, norms, bounds, count, covered)
    while not selection.ended:
        selection.choose_in_block(block)
        if advance is not None:
            advance(selection.done)
    return selection.chosen[: selection.done]


def nearest_squared(points: Floats, norms: Floats, centres: Floats) -> Floats:
    """Squared Euclidean distance `(N,)` of points `(N, d)` of squared lengths `norms` `(N,)` to the nearest centre.

    `centres` are `(M, d)`. The N x M distances are never in memory at once.
    """
    factors = np.ascontiguousarray(-2 * centres.T)  # (d, M)
    lengths = np.einsum("md,md->m", centres, centres)
    nearest = np.empty(len(points), np.float32)
    rows = max(1, PRODUCTS // len(centres))
    for block in (slice(start, start + rows) for start in range(0, len(points), rows)):
        products = points[block] @ factors  # (rows, M)
        products += lengths
        products.min(axis=1, out=nearest[block])
    nearest += norms
    return np.maximum(nearest, 0, out=nearest)  # cancellation can leave tiny negative values


class _Selection:
    """Greedy selection under way.

    `bounds[i]` is point i's squared distance to the centres of before and `chosen[:seen[i]]`, and so an upper bound of
    its distance to all; -1 for a centre, which is never a candidate again.
    """

    def __init__(self, points: Floats, norms: Floats, bounds: Floats, count: int, covered: float) -> None:
        self.points, self.norms, self.bounds, self.covered = points, norms, bounds, covered
        self.chosen = np.empty(count, np.int64)
        self.done = 0
        self.ended = count == 0
        self.seen = np.zeros(len(points), np.int64)

    def choose_in_block(self, size: int) -> None:
        """Bring the farthest points up to date and choose centres among them while no other point can be farther."""
        members, outside, first_outside = self._farthest(size)
        self._refresh(members)
        inside, norms, nearest = self.points[members], self.norms[members], self.bounds[members]
        while self.done < len(self.chosen):
            best = int(np.argmax(nearest))
            if nearest[best] < outside or (nearest[best] == outside and members[best] > first_outside):
                break
            if nearest[best] <= self.covered:
                self.ended = True
                break
            self.chosen[self.done] = members[best]
            self.done += 1
            np.minimum(nearest, nearest_squared(inside, norms, inside[best : best + 1]), out=nearest)
            nearest[best] = -1
        self.bounds[members], self.seen[members] = nearest, self.done
        self.ended = self.ended or self.done == len(self.chosen)

    def _farthest(self, size: int) -> tuple[Ints, float, int]:
        """The block with the largest bounds (indices ascending), and the largest bound outside with its lowest index.

        Where bounds tie at the block's edge, the lowest indices are inside: plain selection would meet them first.
        """
        total = len(self.bounds)
        if total <= size:
            return np.arange(total), -np.inf, total
        edge = np.partition(self.bounds, total - size - 1)[total - size - 1]
        above, level = np.flatnonzero(self.bounds > edge), np.flatnonzero(self.bounds == edge)
        room = size - len(above)
        return np.sort(np.concatenate([above, level[:room]])), float(edge), int(level[room])

    def _refresh(self, members: Ints) -> None:
        """Make the members' bounds exact for all centres chosen so far."""
        stale = members[self.seen[members] < self.done]
        if len(stale):
            since = self.chosen[self.seen[stale].min() : self.done]
            nearest = nearest_squared(self.points[stale], self.norms[stale], self.points[since])
            self.bounds[stale] = np.minimum(self.bounds[stale], nearest)
            self.seen[stale] = self.done
