"""Two ways through a maze, exactly: what a temperature does to them.

python examples/soft_values_on_a_maze.py [largest number of sweeps to show]
"""

import sys

import numpy as np

from softq import tabular

MAZE = """
#######
#.....#
#.###.#
#S###G#
#.###.#
#.....#
#######
"""
most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
mdp = tabular.from_map(MAZE, discount=0.99, step_cost=0.1)
start = int(np.argmax(mdp.start))
print("alpha   value    task  entropy   up    down  (at the start)")
for alpha in (0.0, 0.01, 0.05, 0.1):
    found = tabular.soft_policy_iteration(mdp, alpha)
    parts = tabular.evaluate(mdp, found.policy, alpha)
    up, _, down, _ = found.policy[start]
    print(
        f"{alpha:5.2f} {found.v[start]:7.3f} {parts.task[start]:7.3f} "
        f"{parts.entropy[start]:8.3f} {up:6.3f} {down:6.3f}"
    )
slow = tabular.soft_value_iteration(mdp, 0.1)
print(f"value iteration: {slow.iterations:,} sweeps, error {slow.error:.0e};", end=" ")
print(f"policy iteration: {found.iterations} policies, error {found.error:.0e}")
print("of the sweeps, the last changes:", slow.changes[:most][-3:])
