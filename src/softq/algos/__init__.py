"""One file an algorithm; each is a module that satisfies `Algorithm`."""

from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Array, Float

from softq.algos import (
    bc,
    bc_discrete,
    calql,
    cql,
    cql_discrete,
    ddpg,
    iql,
    sac,
    sac_discrete,
    soft_dqn,
    sql,
    td3_bc,
)  # fmt: skip
from softq.types import Action, Batch, Info, Key, Observation, Scalar, Spec


@runtime_checkable
class Algorithm(Protocol):
    """What a loop needs of an algorithm. A module is one."""

    @property
    def ACTIONS(self) -> Literal["continuous", "discrete"]: ...

    @property
    def NEEDS(self) -> tuple[str, ...]: ...

    @property
    def Config(self) -> type[Any]: ...

    @property
    def State(self) -> type[Any]: ...

    def init(self, key: Key, spec: Spec, cfg: Any) -> Any: ...

    def update(
        self, key: Key, state: Any, batch: Batch, cfg: Any
    ) -> tuple[Any, Info]: ...

    def act(
        self, key: Key, state: Any, obs: Observation, cfg: Any, explore: bool
    ) -> Action: ...

    def value(
        self, state: Any, obs: Observation, action: Action, cfg: Any
    ) -> Float[Array, " n"]: ...

    def entropy(
        self, key: Key, state: Any, obs: Observation, cfg: Any
    ) -> Float[Array, " n"]: ...

    def temperature(self, state: Any, cfg: Any) -> Scalar: ...


ALGOS: dict[str, Algorithm] = {
    "sac": sac, "sac_discrete": sac_discrete, "soft_dqn": soft_dqn, "sql": sql,
    "ddpg": ddpg, "cql": cql, "cql_discrete": cql_discrete, "calql": calql, "iql": iql,
    "td3_bc": td3_bc, "bc": bc, "bc_discrete": bc_discrete,
}  # fmt: skip
