"""Errors of offsets: the inverse curvature, in the gauge of each component.

Within a connected part of the table the curvature matrix, plus the constraint that
every component has weighted mean zero, is inverted: its diagonal holds the variances of
the offsets, and what lies beside it is needed for sums of offsets of several families.
A part too large for a dense matrix is sampled instead: noise is drawn, solved for and
centered as the data were, and the spread of the solutions is the covariance.

This is the covariance for given weights: a lower bound (Saydjari 2025, section 5.1) as
long as the weights are those of the true errors.
"""

__all__ = ["OffsetCovariance", "offset_covariance"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from steadystar.calibrate.gauge import Gauged
from steadystar.calibrate.solve import right_side
from steadystar.calibrate.visitsums import Vector

DENSE_LIMIT = 2500
"""Largest connected part, in offsets, whose covariance is inverted (50 MB)."""

_SAMPLES = 200
_EIGENVALUE = 1e-8


@dataclass(frozen=True)
class OffsetCovariance:
    """The covariance of offsets in blocks; offsets of different blocks are independent.

    ``members``: indices of the offsets of each block. ``matrices``: its covariance
    (n, n), or, for sampled blocks, ``samples`` of its offsets (n, sample).
    """

    size: int
    members: list[NDArray[np.intp]] = field(default_factory=list)
    matrices: list[NDArray[np.float64]] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)

    def variances(self) -> Vector:
        """Variance of every offset, ``(offset,)``; NaN for those in no block."""
        out = np.full(self.size, np.nan)
        for member, matrix, sampled in self._blocks():
            out[member] = matrix.var(axis=1) if sampled else np.diag(matrix)
        return out

    def of_sums(self, unknown: NDArray[np.intp]) -> Vector:
        """Variance of the sum of the offsets ``unknown`` (family, visit), ``(visit,)``.

        An index of -1, or of an offset in no block, adds nothing.
        """
        if len(unknown) == 1:
            padded = np.append(np.nan_to_num(self.variances()), 0.0)
            return padded[unknown[0]]
        unique, inverse = _distinct_columns(unknown)
        out = np.zeros(unique.shape[1])
        block = np.full(self.size + 1, -1)
        place = np.zeros(self.size + 1, np.intp)
        for i, member in enumerate(self.members):
            block[member], place[member] = i, np.arange(len(member))
        for a in unique:
            for b in unique:
                same = (block[a] == block[b]) & (block[a] >= 0)
                for one, part in _by_block(np.flatnonzero(same), block[a]):
                    if not self.sampled[one]:
                        out[part] += self.matrices[one][place[a[part]], place[b[part]]]
        for one in np.flatnonzero(self.sampled):
            here = block[unique] == one
            for part in _chunks(np.flatnonzero(here.any(axis=0))):
                drawn = self.matrices[one][place[unique[:, part]]]
                drawn = np.sum(drawn * here[:, part, None], axis=0)
                out[part] += drawn.var(axis=-1)
        return np.maximum(out, 0.0)[inverse]

    def of_combination(
        self, offsets: NDArray[np.intp], weights: NDArray[np.float64]
    ) -> float:
        """Variance of the weighted sum of ``offsets``; those in no block add nothing."""
        weight = np.zeros(self.size)
        np.add.at(weight, offsets, weights)
        total = 0.0
        for member, matrix, sampled in self._blocks():
            mine = weight[member]
            if mine.any():
                total += float(
                    (mine @ matrix).var() if sampled else mine @ matrix @ mine
                )
        return max(total, 0.0)

    def matrix(self, offsets: Sequence[int] | NDArray[np.intp]) -> NDArray[np.float64]:
        """Full covariance of ``offsets``, (n, n); NaN rows for undetermined ones."""
        wanted = np.asarray(offsets, np.intp)
        out = np.zeros((len(wanted), len(wanted)))
        known = np.zeros(self.size, bool)
        for i, member in enumerate(self.members):
            known[member] = True
            place = np.full(self.size, -1)
            place[member] = np.arange(len(member))
            here = np.flatnonzero(place[wanted] >= 0)
            left, right = np.meshgrid(here, here, indexing="ij")
            out[left, right] = self._entries(
                i, place[wanted[left]], place[wanted[right]]
            )
        out[~known[wanted], :] = np.nan
        out[:, ~known[wanted]] = np.nan
        return out

    @classmethod
    def diagonal(cls, variance: Vector) -> "OffsetCovariance":
        """Return independent offsets of the given variances; NaN is undetermined."""
        known = np.flatnonzero(np.isfinite(variance))
        members = [np.array([i]) for i in known]
        matrices = [np.array([[variance[i]]]) for i in known]
        return cls(len(variance), members, matrices, [False] * len(known))

    def to_arrays(self) -> dict[str, NDArray]:
        """Return flat arrays from which `from_arrays` makes the same value."""
        flat = [m.ravel() for m in self.matrices]
        return {
            "members": np.concatenate([*self.members, np.zeros(0, np.intp)]),
            "lengths": np.array([len(m) for m in self.members], np.int64),
            "widths": np.array([m.shape[1] for m in self.matrices], np.int64),
            "values": np.concatenate([*flat, np.zeros(0)]),
            "sampled": np.array(self.sampled, bool),
        }

    @classmethod
    def from_arrays(cls, size: int, arrays: dict[str, NDArray]) -> "OffsetCovariance":
        """Return the value whose `to_arrays` these are."""
        lengths, widths = arrays["lengths"], arrays["widths"]
        members = np.split(arrays["members"], np.cumsum(lengths)[:-1])
        values = np.split(arrays["values"], np.cumsum(lengths * widths)[:-1])
        count = len(lengths)
        return cls(
            size,
            [m.astype(np.intp) for m in members[:count]],
            [
                v.reshape(n, w)
                for v, n, w in zip(values[:count], lengths, widths, strict=True)
            ],
            arrays["sampled"].tolist(),
        )

    def _blocks(self):
        return zip(self.members, self.matrices, self.sampled, strict=True)

    def _entries(self, block: int, row: NDArray, column: NDArray) -> NDArray:
        matrix = self.matrices[block]
        if not self.sampled[block]:
            return matrix[row, column]
        shift = matrix - matrix.mean(axis=1, keepdims=True)
        return np.mean(shift[row] * shift[column], axis=-1)


def _distinct_columns(table: NDArray[np.intp]) -> tuple[NDArray, NDArray]:
    """Return the distinct columns of ``table`` and which of them each column is."""
    code = np.zeros(table.shape[1], np.intp)
    for row in table:
        pair = code * (int(row.max(initial=0)) + 2) + row + 1
        code = np.unique(pair, return_inverse=True)[1]
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    return table[:, first], code


def _by_block(rows: NDArray[np.intp], block: NDArray[np.intp]):
    """Yield each block and those of ``rows`` that lie in it."""
    order = rows[np.argsort(block[rows], kind="stable")]
    for part in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
        if len(part):
            yield int(block[part[0]]), part


def _chunks(rows: NDArray[np.intp], size: int = 20_000):
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def offset_covariance(gauged: Gauged, gauge: Vector) -> OffsetCovariance:
    """Return the covariance of the solved offsets.

    Arguments:
        gauged: the problem as it was solved.
        gauge: weight of each offset in the mean of its component, ``(offset,)``.
    """
    design, normal, label = gauged.design, gauged.normal, gauged.label
    used = normal.diagonal() > 0
    _, part = connected_components(normal, directed=False)
    part = np.where(used, part, -1)
    order = np.argsort(part, kind="stable")
    order = order[part[order] >= 0]
    blocks = np.split(order, np.flatnonzero(np.diff(part[order])) + 1)
    out = OffsetCovariance(design.size)
    large = [b for b in blocks if len(b) > DENSE_LIMIT]
    samples = _samples(gauged, gauge) if large else np.zeros((0, 0))
    for member in blocks:
        if not len(member):
            continue
        if len(member) > DENSE_LIMIT:
            out.matrices.append(samples[member])
        else:
            dense = csr_matrix(normal[member][:, member]).toarray()
            out.matrices.append(
                _inverse(dense, label[member], gauge[member])
                if not gauged.ambiguous[design.family[member]].any()
                else _pseudo_inverse(dense)
            )
        out.members.append(member)
        out.sampled.append(len(member) > DENSE_LIMIT)
    return out


def _inverse(normal: NDArray, label: NDArray, gauge: Vector) -> NDArray[np.float64]:
    """Invert under the constraint that every component has weighted mean zero.

    The constraint is a penalty; its strength leaves a millionth of a typical variance.
    """
    strength = 1e6 * normal.diagonal().mean()
    for one in np.unique(label):
        at = np.flatnonzero(label == one)
        mean = gauge[at] if gauge[at].sum() > 0 else np.ones(len(at))
        mean = mean / np.linalg.norm(mean)
        normal[np.ix_(at, at)] += strength * np.outer(mean, mean)
    return np.linalg.inv(normal)


def _pseudo_inverse(normal: NDArray) -> NDArray[np.float64]:
    value, vector = eigh(normal)
    good = value > _EIGENVALUE * value.max()
    return (vector[:, good] / value[good]) @ vector[:, good].T


def _samples(gauged: Gauged, gauge: Vector) -> Vector:
    """Draw noise, and solve for it as for data: offsets (offset, sample)."""
    random = np.random.default_rng(0)
    design, weight = gauged.design, gauged.weight
    sigma = np.divide(1, np.sqrt(weight), out=np.zeros_like(weight), where=weight > 0)
    right = np.empty((design.size, _SAMPLES))
    for i in range(_SAMPLES):
        noise = sigma * random.standard_normal(len(weight))
        right[:, i] = right_side(design, weight, noise)
    return gauged.solve(right, gauge)
