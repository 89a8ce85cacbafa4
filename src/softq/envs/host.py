"""Gymnasium environments, stepped: normalised actions in, arrays out.

Environments of one run are stepped in turn, without autoreset: `step` returns the
true final observation beside the one to act on. Every episode begins with
`reset(seed=f(run seed, environment, episode))`, so that the arrays given to `step`
since then are all it takes to come back to the same state (`replay`).
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from softq.envs.making import spec_of
from softq.types import SoftqError, Spec


class Step(NamedTuple):
    """One step of every environment, leading axis E.

    `next_obs` is what the action led to; `obs` is what to act on next, which
    differs where an episode ended and a new one began.
    """

    next_obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    obs: np.ndarray


def episode_seed(run_seed: int, index: int, episode: int) -> int:
    """The reset seed of an episode: a hash, so that no two streams meet."""
    text = f"{run_seed}/{index}/{episode}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") >> 1


class Episode:
    """One environment and all that is needed to bring it back to its state."""

    def __init__(self, env: gymnasium.Env, spec: Spec, run_seed: int, index: int):
        self.env, self.spec, self.run_seed, self.index = env, spec, run_seed, index
        self.begin(0)

    def begin(self, number: int) -> None:
        """Starts episode `number` from its own seed."""
        self.number, self.ret = number, 0.0
        self.actions: list[np.ndarray] = []
        self.trace = hashlib.blake2b(digest_size=16)
        seed = episode_seed(self.run_seed, self.index, number)
        try:
            first, _ = self.env.reset(seed=seed)
        except Exception as error:
            kind = type(error).__name__
            raise Failed(f"{self._where()} raised {kind} in reset: {error}") from error
        self.obs = self._read(first, "observation after reset")
        self.trace.update(self.obs.tobytes())

    def advance(self, action: Any) -> None:
        """Steps the environment with a normalised action; nothing counts yet."""
        self._advance(self.spec.to_env(action))

    def _advance(self, given: Any) -> None:
        self.given = given
        try:
            raw, reward, terminated, truncated, _ = self.env.step(self.given)
        except Exception as error:
            kind = type(error).__name__
            raise Failed(f"{self._where()} raised {kind} in step: {error}") from error
        if not np.isfinite(float(reward)):
            raise Failed(f"{self._where()} returned a reward that is {reward}")
        obs = self._read(raw, "observation")
        self.pending = obs, float(reward), bool(terminated), bool(truncated)

    def commit(self) -> tuple[np.ndarray, float, bool, bool]:
        """The step that `advance` took becomes part of the episode."""
        self.obs, reward, terminated, truncated = self.pending
        self.actions.append(self.given)
        self.ret += reward
        self.trace.update(
            self.obs.tobytes() + repr((reward, terminated, truncated)).encode()
        )
        return self.pending

    def _read(self, raw: Any, field: str) -> np.ndarray:
        obs = np.array(raw, self.spec.obs_dtype).reshape(self.spec.obs_shape)
        if self.spec.obs_dtype == "float32" and not np.isfinite(obs).all():
            bad = int(np.flatnonzero(~np.isfinite(obs.ravel()))[0])
            raise Failed(
                f"{self._where()} returned an {field} whose entry {bad} is "
                f"{obs.ravel()[bad]}"
            )
        return obs

    def _where(self) -> str:
        at = f"step {len(self.actions)} of episode {self.number}"
        return f"environment {self.index} of seed {self.run_seed}, at {at},"

    def snapshot(self) -> tuple[dict[str, Any], np.ndarray]:
        """What `restore` needs: a record, and the actions given since the reset."""
        record = {
            "number": self.number,
            "ret": self.ret,
            "trace": self.trace.hexdigest(),
        }
        space = self.env.action_space
        # As they were given, which is not always the space's own type.
        kind = np.int64 if self.spec.num_actions else np.float32
        actions = np.asarray(self.actions, kind)
        return record, actions.reshape(len(self.actions), *(space.shape or ()))

    def restore(
        self, record: dict[str, Any], actions: np.ndarray, longest: int
    ) -> bool:
        """Replays an episode; False where it cannot be had back, and ends it there.

        The episode is cut (as by a time limit) and the next one begins, where it is
        longer than `longest` or the environment did not do the same again.
        """
        number = int(record["number"])
        same = len(actions) <= longest
        if same:
            self.begin(number)
            try:
                for given in actions:
                    self._advance(self._typed(given))
                    self.commit()
            except Failed:  # it did no such thing before
                same = False
            same = same and self.trace.hexdigest() == record["trace"]
        if not same:
            self.begin(number + 1)
        return same

    def _typed(self, given: Any) -> Any:
        kind = np.int64 if self.spec.num_actions else np.float32
        return kind(given)


class Failed(SoftqError):
    """An environment raised, or returned NaN or an infinity."""


class Host:
    """The E environments of one run, stepped in turn."""

    def __init__(self, envs: Sequence[gymnasium.Env], run_seed: int):
        self.spec = spec_of(envs[0])
        self.episodes = [
            Episode(env, self.spec, run_seed, index) for index, env in enumerate(envs)
        ]
        self.consistent = True
        self._show()

    def advance(self, action: np.ndarray) -> None:
        """Steps every environment with normalised actions (E, …).

        If one of them raises, no episode has changed as far as a snapshot goes.
        """
        for episode, one in zip(self.episodes, action, strict=True):
            episode.advance(one)

    def commit(self) -> tuple[Step, list[tuple[float, int]]]:
        """The step taken, and (return, length) of each episode that ended in it."""
        self.consistent = False
        taken = [episode.commit() for episode in self.episodes]
        finished = []
        for episode, (_, _, terminated, truncated) in zip(
            self.episodes, taken, strict=True
        ):
            if terminated or truncated:
                finished.append((episode.ret, len(episode.actions)))
                episode.begin(episode.number + 1)
        self._show()
        self.consistent = True
        next_obs, reward, terminated, _ = zip(*taken, strict=True)
        flags = np.array(terminated, bool)
        return Step(
            np.stack(next_obs), np.asarray(reward, np.float32), flags, self.obs
        ), finished

    def snapshot(self) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Every episode's record and actions, for `restore`."""
        records, actions = zip(*(e.snapshot() for e in self.episodes), strict=True)
        return list(records), list(actions)

    def restore(
        self, records: list[dict[str, Any]], actions: list[np.ndarray], longest: int
    ) -> bool:
        """Replays every episode; False where one had to be cut instead."""
        exact = [
            episode.restore(record, given, longest)
            for episode, record, given in zip(
                self.episodes, records, actions, strict=True
            )
        ]
        self._show()
        return all(exact)

    def close(self) -> None:
        for episode in self.episodes:
            episode.env.close()

    def _show(self) -> None:
        self.obs = np.stack([episode.obs for episode in self.episodes])
