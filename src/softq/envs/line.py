"""Progress along a line of straight parts, for a boat and for a quadruped."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def along(line: np.ndarray, point: Any) -> Any:
    """Metres along `line` (corners, 2) to the place of it nearest to `point` (2,).

    NumPy in, NumPy out; JAX in, JAX out.
    """
    xp: Any = np if isinstance(point, np.ndarray) else jnp
    parts = np.diff(line, axis=0).astype(np.float32)
    sizes = np.linalg.norm(parts, axis=1)
    ways, starts = parts / sizes[:, None], line[:-1].astype(np.float32)
    before = np.concatenate([[0.0], np.cumsum(sizes)[:-1]]).astype(np.float32)
    from_start = point[None] - starts
    at = xp.clip(xp.sum(from_start * ways, axis=1), 0.0, sizes)
    far = xp.sum((from_start - at[:, None] * ways) ** 2, axis=1)
    return (before + at)[xp.argmin(far)]
