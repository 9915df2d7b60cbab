"""Centralities that are eigenvectors or fixed points: PageRank, hubs and authorities, eigenvector, Katz."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse

from connectofit.connectome.algorithms.csr import Csr


def pagerank(
    graph: Csr,
    *,
    alpha: float,
    personalization: Float[np.ndarray, " n"] | None = None,
    dangling: Float[np.ndarray, " n"] | None = None,
    start: Float[np.ndarray, " n"] | None = None,
    max_iter: int = 100,
    tol: float = 1e-6,
) -> Float[np.ndarray, " n"] | None:
    """Share of time [n] of a surfer who follows an edge with probability `alpha` (in proportion to its weight).

    Else, and by `dangling` where no edge leaves, it goes to a node drawn from `personalization` (uniform without one).
    Page, Brin, Motwani and Winograd 1999: ``x = alpha (x Q + d sum(x of dangling)) + (1 - alpha) p``. None if the mean
    absolute change of a step has not fallen below `tol` after `max_iter` of them.
    """
    n = graph.n_nodes
    matrix = graph.weight_matrix()
    total = np.asarray(matrix.sum(axis=1))
    inverse = np.zeros(n)
    inverse[total != 0] = 1.0 / total[total != 0]
    matrix.data *= np.repeat(inverse, np.diff(matrix.indptr))
    turned = matrix.T.tocsr()
    p = np.full(n, 1.0 / n) if personalization is None else personalization / personalization.sum()
    d = p if dangling is None else dangling / dangling.sum()
    x = np.full(n, 1.0 / n) if start is None else start / start.sum()
    stuck = np.flatnonzero(inverse == 0)
    for _ in range(max_iter):
        last = x
        x = alpha * (turned @ x + x[stuck].sum() * d) + (1 - alpha) * p
        if np.abs(x - last).sum() < n * tol:
            return x
    return None


def hubs_and_authorities(
    graph: Csr, *, start: Float[np.ndarray, " n"] | None = None, max_iter: int = 100, tol: float = 1e-8
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]] | None:
    """Kleinberg's hubs and authorities [n] each: the first singular vectors of the adjacency matrix, unnormalised.

    None where ARPACK does not converge in `max_iter` iterations.
    """
    matrix = graph.weight_matrix()
    try:
        _, _, right = sparse.linalg.svds(matrix, k=1, v0=start, maxiter=max_iter, tol=tol)
    except sparse.linalg.ArpackNoConvergence:
        return None
    authorities = right.flatten().real
    return matrix @ authorities, authorities


def eigenvector(
    graph: Csr, *, start: Float[np.ndarray, " n"], max_iter: int = 100, tol: float = 1e-6
) -> Float[np.ndarray, " n"] | None:
    """Left eigenvector [n] of unit length of the largest eigenvalue, by powers of A + I (Bonacich 1987).

    None if the mean absolute change of a step has not fallen below `tol` after `max_iter` of them.
    """
    turned = graph.weight_matrix().T.tocsr()
    x = start / start.sum()
    for _ in range(max_iter):
        last = x
        x = last + turned @ last
        x = x / (np.linalg.norm(x) or 1.0)
        if np.abs(x - last).sum() < graph.n_nodes * tol:
            return x
    return None


def eigenvector_arpack(graph: Csr, *, max_iter: int = 50, tol: float = 0) -> Float[np.ndarray, " n"]:
    """The same eigenvector by ARPACK, with a positive sum; needs at least three nodes and a connected graph."""
    _, vectors = sparse.linalg.eigs(graph.weight_matrix().T, k=1, which="LR", maxiter=max_iter, tol=tol)
    largest = vectors.flatten().real
    return largest / (np.sign(largest.sum()) * np.linalg.norm(largest))


def katz(
    graph: Csr,
    *,
    alpha: float,
    beta: Float[np.ndarray, " n"],
    start: Float[np.ndarray, " n"],
    max_iter: int = 1000,
    tol: float = 1e-6,
) -> Float[np.ndarray, " n"] | None:
    """Fixed point [n] of ``x = alpha A^T x + beta`` (Katz 1953), not normalised.

    None if the mean absolute change of a step has not fallen below `tol` after `max_iter` of them, as where `alpha`
    exceeds the inverse of the largest eigenvalue.
    """
    turned = graph.weight_matrix().T.tocsr()
    x = start
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(max_iter):
            last = x
            x = alpha * (turned @ last) + beta
            change = np.abs(x - last).sum()
            if change < graph.n_nodes * tol:
                return x
            if not np.isfinite(change):  # it only grows from here
                return None
    return None
