"""Exact counterparts of everything above: soft MDPs on a table."""

from softq.tabular.mdp import (
    MDP,
    Empirical,
    chain,
    from_data,
    from_dense,
    from_gymnasium,
    from_map,
    from_sparse,
    garnet,
    load,
    save,
    table,
)  # fmt: skip
from softq.tabular.soft import (
    Evaluation,
    Solution,
    evaluate,
    finite_horizon,
    occupancy,
    soft_policy_iteration,
    soft_value_iteration,
    temperature_path,
    value_bound,
)  # fmt: skip

__all__ = [
    "MDP", "Empirical", "Evaluation", "Solution", "chain", "evaluate",
    "finite_horizon", "from_data", "from_dense", "from_gymnasium", "from_map",
    "from_sparse", "garnet", "load", "occupancy", "save", "soft_policy_iteration",
    "soft_value_iteration", "table", "temperature_path", "value_bound",
]  # fmt: skip
