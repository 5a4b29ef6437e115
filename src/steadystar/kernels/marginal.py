"""One spectrum as a sum of Gaussian components, and the likelihood of that sum.

The component separation of Saydjari et al. (2023, 2025, equations 1 to 5; "MADGICS"). A
spectrum ``x`` is the sum of components with means ``mu_k`` and covariances
``C_k = diag(d_k) + V_k.T V_k``, and of a residual whose covariance is that of the pixels'
noise. With ``C`` and ``mu`` the sums over all of them,

    x_k = mu_k + C_k C^-1 (x - mu)            Cov_kl = delta_kl C_k - C_k C^-1 C_l
    chi2 = (x - mu).T C^-1 (x - mu)

``C`` is diagonal but for all patterns ``V`` together, so one Cholesky factor of
``M = 1 + V W V.T``, of the size of their number, does it all. Written with the patterns'
posterior strengths ``b = M^-1 V W (x - mu)``, and with ``t = 1 / (1 + ivar sum d)``,

    x_k      = mu_k + V_k.T b_k + d_k ivar t y      y = x - mu - V.T b
    residual = t y                                  W = ivar t
    chi2     = sum W y^2 + b.b

so nothing is ever divided by ``ivar``: a pixel without data has infinite noise, the others
predict it, and the residual takes what they do not. The posterior covariances in this form,
``A_k = V_k - d_k ivar t V`` (padded with zeros to all patterns; ``A = -t V`` for the
residual),

    Cov_kl = A_k.T M^-1 A_l + diag(d_k (1 + ivar sum_(j != k) d_j) t)   if k == l
                            - diag(d_k d_l ivar t)                      if not

are finite and have no differences of large numbers; for the residual ``d ivar`` is 1, and
its own diagonal is ``t sum d``.

Pixels may be float32. The small matrix is held in the widest precision that JAX allows at
the time, because it squares the condition of the problem.
"""

__all__ = [
    "Marginal",
    "Prior",
    "covariance_root",
    "independent_covariance",
    "own_part",
    "separate",
    "stack",
    "strengths",
]

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float


class Prior(eqx.Module):
    """Gaussian prior of one component; zeros, or no rows, for what it lacks."""

    mean: Float[Array, " pixel"]
    basis: Float[Array, "rank pixel"]
    diagonal: Float[Array, " pixel"]


class Marginal(eqx.Module):
    """A spectrum taken apart.

    ``components``: posterior means, in the order of the priors; the last is the residual.
    ``chi2``, ``log_determinant`` (of the covariance of the pixels that have data),
    ``n_good`` (how many have) and ``log_likelihood`` of those pixels. ``inverse_root``:
    ``K`` with ``K.T @ K = M^-1``.
    """

    components: Float[Array, "component pixel"]
    chi2: Float[Array, ""]
    log_determinant: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    n_good: Float[Array, ""]
    inverse_root: Float[Array, "pattern pattern"]


def stack(priors: tuple[Prior, ...]) -> Float[Array, "pattern pixel"]:
    """Return all patterns in order; a row of zeros if there are none."""
    rows = jnp.concatenate([prior.basis for prior in priors])
    return rows if rows.shape[0] else jnp.zeros((1, rows.shape[1]), rows.dtype)


def strengths(
    patterns: Float[Array, "pattern pixel"],
    values: Float[Array, " pixel"],
    weight: Float[Array, " pixel"],
) -> tuple[Float[Array, " pattern"], Float[Array, "pattern pattern"], Float[Array, ""]]:
    """Return ``b``, ``K`` with ``K.T K = M^-1``, and the log determinant of ``M``."""
    wide = jnp.zeros(()).dtype
    # Whitened first: flux in units of 1e-17 would overflow float32 otherwise.
    root = jnp.sqrt(weight)
    white = (patterns * root[None, :]).astype(wide)
    matrix = white @ white.T + jnp.eye(white.shape[0], dtype=wide)
    lower = jnp.linalg.cholesky(matrix)
    inverse = solve_triangular(lower, jnp.eye(white.shape[0], dtype=wide), lower=True)
    b = inverse.T @ (inverse @ (white @ (root * values).astype(wide)))
    return b, inverse, 2 * jnp.log(jnp.diagonal(lower)).sum()


def separate(
    flux: Float[Array, " pixel"],
    ivar: Float[Array, " pixel"],
    priors: tuple[Prior, ...],
) -> Marginal:
    """Take one spectrum apart.

    ``ivar`` is zero where there are no data. ``flux`` must be finite there too, but only
    the residual sees it. The components sum to ``flux`` to rounding: what rounding leaves
    of the sum is put into the residual.
    """
    wide = jnp.zeros(()).dtype
    patterns = stack(priors)
    spread = _total_diagonal(priors)
    damping = 1 / (1 + ivar * spread)
    weight = ivar * damping
    centered = flux - jnp.stack([prior.mean for prior in priors]).sum(0)
    b, inverse, log_matrix = strengths(patterns, centered, weight)
    narrow = b.astype(flux.dtype)
    left = centered - narrow @ patterns

    means, first = [], 0
    for prior in priors:
        own = narrow[first : first + prior.basis.shape[0]] @ prior.basis
        means.append(prior.mean + own + prior.diagonal * weight * left)
        first += prior.basis.shape[0]
    residual = damping * left
    residual = residual + (flux - jnp.stack([*means, residual]).sum(0))

    good = ivar > 0
    white = jnp.where(good, jnp.sqrt(weight) * left, 0).astype(wide)
    chi2 = (white**2).sum() + (b**2).sum()
    log_weight = jnp.log(jnp.where(good, weight, 1)).astype(wide)
    log_determinant = log_matrix - log_weight.sum()
    n_good = good.sum().astype(wide)
    return Marginal(
        components=jnp.stack([*means, residual]),
        chi2=chi2,
        log_determinant=log_determinant,
        log_likelihood=-(chi2 + log_determinant + n_good * jnp.log(2 * jnp.pi)) / 2,
        n_good=n_good,
        inverse_root=inverse,
    )


def own_part(
    ivar: Float[Array, " pixel"], priors: tuple[Prior, ...], component: int
) -> tuple[Float[Array, " pattern"], Float[Array, " pixel"]]:
    """Return what makes ``A_k`` out of ``V``: ``A_k = (own[:, None] - share[None]) V``.

    ``own`` is one for the component's own patterns, ``share`` is what it takes of a
    pixel's noise. ``component`` counts the priors; ``len(priors)`` is the residual.
    """
    ranks = [prior.basis.shape[0] for prior in priors]
    own = jnp.zeros(max(sum(ranks), 1), ivar.dtype)
    damping = 1 / (1 + ivar * _total_diagonal(priors))
    if component == len(priors):
        return own, damping
    first = sum(ranks[:component])
    own = own.at[first : first + ranks[component]].set(1)
    return own, priors[component].diagonal * ivar * damping


def covariance_root(
    patterns: Float[Array, "pattern pixel"],
    inverse_root: Float[Array, "pattern pattern"],
    own: Float[Array, " pattern"],
    share: Float[Array, " pixel"],
) -> Float[Array, "pattern pixel"]:
    """Return ``K A_k``: the correlated part of ``Cov_kl`` is ``root_k.T @ root_l``."""
    mine = (own[:, None] - share[None, :]) * patterns
    return inverse_root.astype(patterns.dtype) @ mine


def independent_covariance(
    ivar: Float[Array, " pixel"], priors: tuple[Prior, ...], one: int, other: int
) -> Float[Array, " pixel"]:
    """Return the part of ``Cov_kl`` that is diagonal."""
    damping = 1 / (1 + ivar * _total_diagonal(priors))
    residual = len(priors)
    if one == other == residual:
        return damping * _total_diagonal(priors)
    if one == other:
        others = _total_diagonal(priors[:one] + priors[one + 1 :], like=ivar)
        return priors[one].diagonal * (1 + ivar * others) * damping
    if residual in (one, other):
        return -damping * priors[min(one, other)].diagonal
    # In this order: a product of two variances in small units would leave float32.
    return -priors[one].diagonal * (ivar * priors[other].diagonal) * damping


def _total_diagonal(
    priors: tuple[Prior, ...], like: Float[Array, " pixel"] | None = None
) -> Float[Array, " pixel"]:
    zero = jnp.zeros_like(priors[0].diagonal if like is None else like)
    return jnp.stack([zero, *(prior.diagonal for prior in priors)]).sum(0)
