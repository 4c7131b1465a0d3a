"""Exact greedy coreset selection (farthest point first) in blocks.

Plain greedy k-centre selection (Sener and Savarese 2018, as PatchCore uses it) updates the distance of
every point after every chosen centre: N x M x d multiplications and, worse, N x M memory reads. Here every point keeps an
*upper bound* of its distance, which only falls as centres are added. Points with a low bound cannot be the
farthest, so only a block of the points with the largest bounds is brought up to date (one matrix product) and
centres are chosen inside it for as long as its best point is farther than every bound outside. The result is
the same set, in the same order, as plain greedy selection.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BLOCK = 4096  # points per block: large enough to choose many centres from, small enough to stay in the cache


def greedy_coreset(
    points: Floats, count: int, *, block: int = BLOCK, advance: Callable[[int], None] | None = None
) -> npt.NDArray[np.int64]:
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
    total = len(points)
    if not 1 <= count <= total:
        raise ValueError(f"count must be from 1 to {total}, not {count}")
    norms = np.einsum("nd,nd->n", points, points)  # (N,)
    chosen = np.empty(count, np.int64)
    chosen[0] = int(np.argmax(squared_distances(points, norms, points.mean(axis=0)[None])[:, 0]))
    # Squared distances. A bound is exact for the centres [0, seen); later ones can only lower it.
    bounds = squared_distances(points, norms, points[chosen[:1]])[:, 0]  # (N,)
    seen = np.ones(total, np.int64)
    bounds[chosen[0]] = -1  # a chosen point is never a candidate again
    done = 1
    while done < count:
        members, outside = _farthest(bounds, block)
        _refresh(points, norms, bounds, seen, members, chosen[:done])
        done = _choose_inside(points, norms, bounds, seen, members, outside, chosen, done)
        if advance is not None:
            advance(done)
    return chosen


def squared_distances(points: Floats, norms: Floats, centres: Floats) -> Floats:
    """Squared Euclidean distances, float32 `(N, M)`, of points `(N, d)` with squared lengths `norms` to centres `(M, d)`."""
    result: Floats = points @ (-2 * centres.T)  # (N, M)
    result += norms[:, None]
    result += np.einsum("md,md->m", centres, centres)[None]
    np.maximum(result, 0, out=result)  # cancellation can leave tiny negative values
    return result


def _farthest(bounds: Floats, block: int) -> tuple[npt.NDArray[np.int64], tuple[float, int]]:
    """The block with the largest bounds (indices ascending), and the largest bound outside with its lowest index.

    Where bounds tie at the block's edge, the lowest indices are inside: plain selection would meet them first.
    """
    if len(bounds) <= block:
        return np.arange(len(bounds)), (-np.inf, len(bounds))
    edge = np.partition(bounds, len(bounds) - block - 1)[len(bounds) - block - 1]
    above, level = np.flatnonzero(bounds > edge), np.flatnonzero(bounds == edge)
    room = block - len(above)
    return np.sort(np.concatenate([above, level[:room]])), (float(edge), int(level[room]))


def _refresh(
    points: Floats,
    norms: Floats,
    bounds: Floats,
    seen: npt.NDArray[np.int64],
    members: npt.NDArray[np.int64],
    centres: npt.NDArray[np.int64],
) -> None:
    """Bring the members' bounds up to date with all centres chosen so far."""
    stale = members[seen[members] < len(centres)]
    if len(stale) == 0:
        return
    since = centres[seen[stale].min() :]
    distances = squared_distances(points[stale], norms[stale], points[since])
    bounds[stale] = np.minimum(bounds[stale], distances.min(axis=1))
    seen[stale] = len(centres)


def _choose_inside(
    points: Floats,
    norms: Floats,
    bounds: Floats,
    seen: npt.NDArray[np.int64],
    members: npt.NDArray[np.int64],
    outside: tuple[float, int],
    chosen: npt.NDArray[np.int64],
    done: int,
) -> int:
    """Choose centres among the refreshed members while their best is beyond all bounds outside; returns the new count."""
    inside, inside_norms, nearest = points[members], norms[members], bounds[members]
    while done < len(chosen):
        best = int(np.argmax(nearest))
        if (-nearest[best], members[best]) > (-outside[0], outside[1]):  # a point outside may be next: farther or earlier
            break
        chosen[done] = members[best]
        done += 1
        np.minimum(nearest, squared_distances(inside, inside_norms, inside[best : best + 1])[:, 0], out=nearest)
        nearest[best] = -1
    bounds[members] = nearest
    seen[members] = done
    return done
