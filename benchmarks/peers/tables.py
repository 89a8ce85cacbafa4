"""pymdptoolbox's and QuantEcon's side of `benchmarks/tabular.py`.

    python tables.py TABLE.npz TOL

Each library's own Bellman operator, timed, and its way to a true error of TOL: sweeps
of pymdptoolbox's operator until γ/(1 − γ) ‖ΔV‖ ≤ TOL (the bound in its own
`ValueIteration` costs a dense column a state before the first sweep, and stops by the
span), without its check of the input, which makes a dense array of all pairs of
states; for QuantEcon the faster of value and modified policy iteration.
"""

import json
import statistics
import sys
import time
from importlib import metadata

import mdptoolbox.util
import numpy as np
import scipy.sparse as sparse
from mdptoolbox.mdp import MDP
from quantecon.markov import DiscreteDP


def main() -> None:
    with np.load(sys.argv[1]) as file:
        table = {name: file[name] for name in file.files}
    tol, discount = float(sys.argv[2]), float(table["discount"])
    states, actions, _ = table["prob"].shape
    matrices, reward = [], table["reward"]
    weight = np.where(table["terminated"], 0.0, table["prob"])
    for a in range(actions):
        row = np.repeat(np.arange(states), weight.shape[2])
        there = table["next_state"][:, a].ravel()
        # An absorbing state of value 0 takes what terminates.
        lost = 1.0 - weight[:, a].sum(-1)
        row = np.concatenate([row, np.arange(states), [states]])
        there = np.concatenate([there, np.full(states, states), [states]])
        data = np.concatenate([weight[:, a].ravel(), lost, [1.0]])
        matrix = sparse.csr_matrix((data, (row, there)), (states + 1, states + 1))
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        matrices.append(matrix)
    reward = np.vstack([reward, np.zeros((1, actions))])
    out = toolbox(matrices, reward, discount, tol)
    names = ("pymdptoolbox", "quantecon", "numpy", "scipy", "numba")
    out["versions"] = {name: metadata.version(name) for name in names}
    print(json.dumps(out | quantecon(matrices, reward, discount, tol)))


def toolbox(matrices, reward, discount, tol):
    """Seconds of a sweep, and of all sweeps."""
    mdptoolbox.util.check = lambda *_: None  # it makes dense (n, n) arrays
    mdp = MDP(matrices, reward, discount, tol, 10**9)
    mdp.V = np.zeros(len(reward))
    taken, begin = [], time.perf_counter()
    while True:
        start = time.perf_counter()
        _, new = mdp._bellmanOperator()
        taken.append(time.perf_counter() - start)
        change = float(np.max(np.abs(new - mdp.V)))
        mdp.V = new
        if discount / (1.0 - discount) * change <= tol:
            break
    total = time.perf_counter() - begin
    return {"toolbox_sweep_s": statistics.median(taken), "toolbox_solve_s": total,
            "toolbox_sweeps": len(taken)}  # fmt: skip


def quantecon(matrices, reward, discount, tol):
    """Seconds of a sweep, and of the faster method."""
    states, actions = reward.shape
    stacked = sparse.vstack(matrices).tocsr()
    order = np.arange(states * actions).reshape(actions, states).T.ravel()
    s, a = np.repeat(np.arange(states), actions), np.tile(np.arange(actions), states)
    problem = DiscreteDP(reward.ravel(), stacked[order], discount, s, a)
    v = np.zeros(states)
    problem.bellman_operator(v)
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        v = problem.bellman_operator(v)
        taken.append(time.perf_counter() - start)
    out = {"quantecon_sweep_s": statistics.median(taken)}
    # Its epsilon bounds the error of V by epsilon / 2.
    for method in ("modified_policy_iteration", "value_iteration"):
        problem.solve(method, epsilon=2.0 * tol, max_iter=1)  # compiles
        begin = time.perf_counter()
        problem.solve(method, epsilon=2.0 * tol, max_iter=100_000)
        out[f"quantecon_{method}_s"] = time.perf_counter() - begin
    both = [v for k, v in out.items() if k.endswith("iteration_s")]
    return out | {"quantecon_solve_s": min(both)}


if __name__ == "__main__":
    main()
