"""Environments: Gymnasium's, and softq's own that run on the device."""

from softq.envs.host import Host, check, make, spec_of

__all__ = ["Host", "check", "make", "spec_of"]
