"""Exact counterparts of everything above: soft MDPs on a table."""

from softq.tabular.bounds import value_bound
from softq.tabular.build import (
    chain,
    from_data,
    from_dense,
    from_gymnasium,
    from_map,
    from_sparse,
    garnet,
)  # fmt: skip
from softq.tabular.mdp import MDP, Empirical, load, save, table
from softq.tabular.soft import (
    Evaluation,
    Solution,
    evaluate,
    finite_horizon,
    occupancy,
    soft_policy_iteration,
    soft_value_iteration,
    temperature_path,
)  # fmt: skip

__all__ = [
    "MDP", "Empirical", "Evaluation", "Solution", "chain", "evaluate",
    "finite_horizon", "from_data", "from_dense", "from_gymnasium", "from_map",
    "from_sparse", "garnet", "load", "occupancy", "save", "soft_policy_iteration",
    "soft_value_iteration", "table", "temperature_path", "value_bound",
]  # fmt: skip
