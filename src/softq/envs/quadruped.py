"""Gymnasium's Ant, paid for its speed whichever way, or for its way through a maze.

The pre-training and the three mazes of Haarnoja et al. 2017, section 5.3, which were
never released; the reward without a maze is that of the authors' later
`MultiDirectionAntEnv`: ‖v_xy‖ + 0.05 − 0.005 ‖a‖². In a maze the speed along its
middle line takes the place of ‖v_xy‖. Positions are observed, contact forces are not.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium.envs.mujoco import ant_v5

from softq.envs.line import along

ALIVE, EFFORT = 0.05, 0.005
HEIGHT, THICK = 1.0, 0.25  # of a wall (half of each), metres


class Maze(NamedTuple):
    """Walls (x, y, half a width, half a depth), and the line to follow."""

    walls: tuple[tuple[float, float, float, float], ...]
    line: tuple[tuple[float, float], ...]


MAZES = {
    "east": Maze(
        ((9.0, 3.0, 12.0, THICK), (9.0, -3.0, 12.0, THICK), (-3.0, 0.0, THICK, 3.0)),
        ((0.0, 0.0), (21.0, 0.0)),
    ),
    "north": Maze(
        ((1.8, 9.0, THICK, 11.0), (-1.8, 9.0, THICK, 11.0), (0.0, -2.0, 1.8, THICK)),
        ((0.0, 0.0), (0.0, 20.0)),
    ),
    "u": Maze(
        ((3.0, -2.5, 6.0, THICK), (-2.5, 0.0, THICK, 2.5), (8.5, 3.0, THICK, 6.0),
         (0.5, 3.0, 3.0, THICK), (-2.0, 8.5, 10.5, THICK)),
        ((0.0, 0.0), (6.0, 0.0), (6.0, 6.0), (-10.0, 6.0)),
    ),
}  # fmt: skip


class Quadruped(ant_v5.AntEnv):
    """Ant with walls and another reward; episodes end where it falls."""

    def __init__(
        self, maze: Literal["open", "east", "north", "u"] = "open", **options: Any
    ):
        self.line = None if maze == "open" else np.array(MAZES[maze].line)
        path = _model(() if maze == "open" else MAZES[maze].walls)
        try:
            super().__init__(
                xml_file=path, exclude_current_positions_from_observation=False,
                include_cfrc_ext_in_observation=False, **options,
            )  # fmt: skip
        finally:
            os.unlink(path)

    def step(self, action: Any) -> Any:
        """Ant's step, with this reward."""
        before = self.data.qpos[:2].copy()
        obs, _, terminated, truncated, info = super().step(action)
        if self.line is None:
            speed = float(np.hypot(info["x_velocity"], info["y_velocity"]))
        else:
            gone = along(self.line, self.data.qpos[:2]) - along(self.line, before)
            speed = float(gone) / self.dt
        effort = EFFORT * float(np.square(action).sum())
        return obs, speed + ALIVE - effort, terminated, truncated, info


def _model(walls: tuple[tuple[float, float, float, float], ...]) -> str:
    """The path of Gymnasium's ant.xml with these walls in its world; a new file."""
    text = (Path(ant_v5.__file__).parent / "assets" / "ant.xml").read_text()
    boxes = "".join(
        f'<geom type="box" pos="{x} {y} {HEIGHT}" size="{w} {d} {HEIGHT}" '
        'conaffinity="1" contype="1" rgba="0.5 0.55 0.6 1"/>'
        for x, y, w, d in walls
    )
    handle, path = tempfile.mkstemp(suffix=".xml")
    with os.fdopen(handle, "w") as file:
        file.write(text.replace("</worldbody>", boxes + "</worldbody>"))
    return path
