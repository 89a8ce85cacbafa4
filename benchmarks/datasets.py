"""Offline data of our own, in the D4RL manner, from the policies in `policies/`.

    python benchmarks/datasets.py --out DIR [--env Hopper-v5] [--steps 100000]
    python benchmarks/datasets.py --out DIR --quick

For each of Hopper, HalfCheetah and Walker2d (`-v5`): random (uniform actions), medium
(the policy at about a third of our expert's return), medium-expert (half of each), all
sampled, and medium-replay: what SAC's replay held after 100,000 steps of learning
(`softq train sac --env ID --steps 100000 --seed 0`, trained here where it is missing).
`--quick` makes random and medium-replay of Pendulum and of PointMaze (which needs
`pip install gymnasium-robotics`) instead, 5,000 and 10,000 steps.
Files that are there already are kept. `results/datasets.json` has their hashes and mean
returns; `--check` compares: hashes on the same processor and versions, elsewhere mean
returns within 5 %.
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVS = ("Hopper-v5", "HalfCheetah-v5", "Walker2d-v5")
SETS = {"random": (None,), "medium": ("medium",), "medium-replay": (),
        "medium-expert": ("medium", "expert")}  # fmt: skip
QUICK = {"Pendulum-v1": 5_000, "gymnasium_robotics:PointMaze_UMazeDense-v3": 10_000}
RESULT = HERE / "results" / "datasets.json"
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--env", choices=ENVS, action="append")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--replays", type=Path, help="where SAC's runs lie, or go")
    parser.add_argument("--only", choices=tuple(SETS), action="append")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    made = {}
    replays = args.replays or args.out / "runs"
    for env in args.env or (QUICK if args.quick else ENVS):
        for name in args.only or (("random", "medium-replay") if args.quick else SETS):
            path = args.out / f"{env.split(':')[-1].lower()}-{name}.hdf5"
            if not path.exists():
                make(env, name, path, QUICK.get(env, args.steps), replays)
            made[path.stem] = told(path)
            print(path.stem, made[path.stem], flush=True)
    if args.check:
        check(made)
    else:
        write(made, args.steps)


def make(env: str, name: str, path: Path, steps: int, replays: Path) -> None:
    """One file: uniform actions, policies in equal shares, or what SAC remembers."""
    from softq import collect

    if name == "medium-replay":
        run = trained(env, replays, steps)
        collect.collect([str(run)], steps, path, env, replay=True)
        return
    policies = SETS[name]
    share = steps // len(policies)
    parts = [collect.Part(p or "random", p and policy(env, p), share) for p in policies]
    collect.write(parts, env, path, seed=SEED)


def trained(env: str, replays: Path, steps: int) -> Path:
    """SAC's run of so many steps, finished or gone on with."""
    import softq

    run = replays / env.split(":")[-1]
    if run.exists():
        softq.resume(run)
    else:
        softq.train(
            "sac", env, out=run, seed=SEED, steps=steps, eval_every=50_000,
            checkpoint_every=20_000, learning_starts=min(5_000, steps // 10),
        )  # fmt: skip
    return run


def policy(env: str, level: str):
    """A committed actor as a policy."""
    import jax
    from safetensors.numpy import load_file

    import softq
    from softq import checkpoint
    from softq.algos import sac
    from softq.envs import make, spec_of

    world = make(env)
    spec, cfg = spec_of(world), sac.Config()
    world.close()
    file = HERE / "policies" / f"{env.lower()}-{level}.safetensors"
    fresh = sac.init(jax.random.key(0), spec, cfg)
    actor = checkpoint.restore(fresh.actor, load_file(file), str(file))
    return softq.Policy(sac, cfg, spec, fresh._replace(actor=actor))


def told(path: Path) -> dict:
    from softq.data import doctor

    info = doctor.info(path)
    return {key: info[key] for key in ("sha256", "steps", "episodes", "returns")}


def write(made: dict, steps: int) -> None:
    from softq import machine

    known = json.loads(RESULT.read_text())["files"] if RESULT.exists() else {}
    content = {
        "command": f"python benchmarks/datasets.py --steps {steps}",
        "versions": machine.versions(), "machine": machine.about(),
        "files": known | made,
    }  # fmt: skip
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    print(RESULT)


def check(made: dict) -> None:
    """Raises SystemExit unless the files are those of the committed result."""
    from softq import machine

    known = json.loads(RESULT.read_text())
    same = (known["versions"], known["machine"]["processor"]) == (
        machine.versions(), machine.about()["processor"],
    )  # fmt: skip
    for name, found in made.items():
        if (before := known["files"].get(name)) is None:
            raise SystemExit(f"{name} is not in {RESULT}: leave out --check first")
        far = abs(found["returns"]["mean"] / before["returns"]["mean"] - 1)
        good = found["sha256"] == before["sha256"] if same else far <= 0.05
        print(f"{name:32} {'equal' if good else 'DIFFERS'} ({far:.1%} of mean return)")
        if not good:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
