"""Environments: Gymnasium's, and softq's own that run on the device."""

from softq.envs import register
from softq.envs.host import Host
from softq.envs.jax_env import JaxEnv
from softq.envs.making import EnvLike, another, check, make, spec_of
from softq.envs.register import JAX_ENVS

__all__ = [
    "JAX_ENVS", "EnvLike", "Host", "JaxEnv", "another", "check", "device_env", "make",
    "spec_of",
]  # fmt: skip

register.register()


def device_env(env_id: str) -> JaxEnv | None:
    """softq's own environment of that id, which runs on the device; else None."""
    return JAX_ENVS[env_id]() if env_id in JAX_ENVS else None
