"""What an environment that lives on the device offers, and how one draws itself.

An environment is a frozen dataclass: its fields are Python numbers, so that it is
hashable and can be a static argument of `jit`. Its functions are pure and written
for one environment; callers vmap, and start a new episode where one has ended.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from softq.types import Key, Scalar, Spec

Colour = tuple[int, int, int]
Frame = UInt8[np.ndarray, "height width 3"]
Canvas = Float[np.ndarray, "height width 3"]
Field = Float[np.ndarray, "height width"]


@runtime_checkable
class JaxEnv(Protocol):
    """A Markov decision process as pure functions of a key and a state.

    `state` is a pytree of arrays. `action` is normalised: float32 in [-1, 1]^d,
    or an int32 index.
    """

    @property
    def spec(self) -> Spec:
        """Shapes of observations and actions, and the actions' own units."""

    @property
    def obs_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Least and greatest value of each entry; infinite where not known."""

    @property
    def horizon(self) -> int:
        """The time limit in steps. Whoever steps the environment keeps count."""

    @property
    def fps(self) -> int:
        """Frames (one a step) that a video should show in a second."""

    def reset(self, key: Key) -> Any:
        """A first state."""

    def observe(self, state: Any) -> Float[Array, "*n"]:
        """What is seen of a state: float32 of `spec.obs_shape`."""

    def step(
        self, key: Key, state: Any, action: Float[Array, " d"] | Int[Array, ""]
    ) -> tuple[Any, Scalar, Bool[Array, ""]]:
        """(next state, reward, terminated); the next state is never a fresh one."""

    def render(self, state: Any) -> Frame:
        """A picture of one state, drawn on the host."""


def canvas(height: int, width: int, colour: Colour) -> Canvas:
    """An empty picture in colours from 0 to 255."""
    return np.tile(np.asarray(colour, np.float32), (height, width, 1))


def paint(
    picture: Canvas,
    distance: Field,
    colour: Colour | Canvas,
    opacity: float = 1.0,
    blur: float = 1.0,
) -> None:
    """Fills a shape, in place.

    `distance` is to the shape's edge in pixels, negative inside. The edge fades over
    `blur` pixels: 1 looks smooth, more looks like a shadow.
    """
    cover = (opacity * np.clip(0.5 - distance / blur, 0, 1)).astype(np.float32)
    here = cover > 0
    ink = np.broadcast_to(np.asarray(colour, np.float32), picture.shape)[here]
    picture[here] += cover[here, None] * (ink - picture[here])


def disc(picture: Canvas, x: float, y: float, radius: float) -> Field:
    """Distance to a disc's edge, in pixels; x to the right, y down."""
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    return np.asarray(np.hypot(columns + 0.5 - x, rows + 0.5 - y) - radius)


def rod(
    picture: Canvas, start: tuple[float, float], end: tuple[float, float], radius: float
) -> Field:
    """Distance to the edge of a thick line with round ends, in pixels."""
    (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    right, down = columns + 0.5 - x, rows + 0.5 - y
    along = np.clip((right * dx + down * dy) / (dx**2 + dy**2), 0, 1)
    return np.asarray(np.hypot(right - along * dx, down - along * dy) - radius)


def tile(side: int) -> Field:
    """Distance to the edge of a square with round corners that fills `side` pixels."""
    corner, gap = side / 8, side / 32
    reach = abs(np.arange(side) + 0.5 - side / 2) - (side / 2 - gap - corner)
    outside = np.maximum(reach, 0)
    return np.asarray(np.hypot(outside[:, None], outside) - corner)


def finish(picture: Canvas) -> Frame:
    """The picture in bytes."""
    return np.round(picture).astype(np.uint8)
