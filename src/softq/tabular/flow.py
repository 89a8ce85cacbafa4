"""Where a policy's probability flows: exact solves with I − γ P^π."""

import numpy as np
import scipy.sparse as sparse
import scipy.sparse.linalg as krylov
from jaxtyping import Float

from softq.tabular.mdp import MDP, continuation

DENSE = 1_000  # states up to which a dense solve is the fastest
PRECISE = 1e-14  # of a Krylov solve, relative to the right-hand side
STEPS = 64  # of one that need not be precise


class Flow:
    """γ P^π of any policy of one table: a sparse matrix whose pattern is found once.

    Outcomes of a state that lead to the same next state share an entry.
    """

    def __init__(self, mdp: MDP):
        self.states = len(mdp.reward)
        self.weight = mdp.discount * continuation(mdp)
        there = mdp.next_state.reshape(self.states, -1)
        self.order = np.argsort(there, axis=-1, kind="stable")
        ranked = np.take_along_axis(there, self.order, -1)
        fresh = np.ones(ranked.shape, bool)
        fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
        self.starts = np.flatnonzero(fresh.ravel())
        self.columns = ranked.ravel()[self.starts]
        self.rows = np.concatenate([[0], np.cumsum(fresh.sum(-1))])

    def matrix(self, policy: Float[np.ndarray, "s a"]) -> sparse.csr_array:
        """γ P^π, of shape (S, S), where the episode goes on."""
        flow = (policy[..., None] * self.weight).reshape(self.states, -1)
        sorted_ = np.take_along_axis(flow, self.order, -1).ravel()
        data = np.add.reduceat(sorted_, self.starts)
        shape = self.states, self.states
        return sparse.csr_array((data, self.columns, self.rows), shape)

    def solve(
        self,
        policy: Float[np.ndarray, "s a"],
        earned: Float[np.ndarray, " s"],
        guess: Float[np.ndarray, " s"] | None = None,
        forcing: float | None = None,
    ) -> Float[np.ndarray, " s"]:
        """V = (I − γ P^π)⁻¹ earned.

        With `forcing` a large system is solved until the residual of `guess` has
        shrunk by that factor, no further.
        """
        return self._solve(self.matrix(policy), earned, guess, forcing)

    def visits(
        self, policy: Float[np.ndarray, "s a"], start: Float[np.ndarray, " s"]
    ) -> Float[np.ndarray, " s"]:
        """(I − γ P^πᵀ)⁻¹ start: expected discounted visits to each state."""
        return self._solve(self.matrix(policy).T.tocsr(), start, None, None)

    def _solve(
        self,
        flow: sparse.csr_array,
        right: np.ndarray,
        guess: np.ndarray | None,
        forcing: float | None,
    ) -> np.ndarray:
        if self.states <= DENSE:
            return np.linalg.solve(np.eye(self.states) - flow.toarray(), right)
        system = (sparse.eye_array(self.states, format="csr") - flow).tocsr()
        if forcing is not None and guess is not None:
            return _nearer(system, right, guess, forcing)
        found, failed = krylov.bicgstab(
            system, right, guess, rtol=PRECISE, atol=0.0, maxiter=10 * self.states
        )
        if failed or not np.isfinite(found).all():
            found = krylov.spsolve(system.tocsc(), right)
        return np.asarray(found)


def _nearer(
    system: sparse.csr_array, right: np.ndarray, guess: np.ndarray, forcing: float
) -> np.ndarray:
    """A few Krylov steps from `guess`, or `guess` itself where they lead astray.

    The method's own residual drifts from the true one, so that is what decides.
    """
    before = float(np.linalg.norm(right - system @ guess))
    found, _ = krylov.bicgstab(
        system, right, guess, rtol=0.0, atol=forcing * before, maxiter=STEPS
    )
    after = float(np.linalg.norm(right - system @ found))
    return np.asarray(found) if after < before else guess
