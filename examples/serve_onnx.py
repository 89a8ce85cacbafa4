"""A policy as an ONNX file, served by onnxruntime: without softq, and without JAX.

python examples/serve_onnx.py [steps]
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

import softq
from softq.export import export

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 12_000
run = softq.train("sac", env="softq/Pendulum-v0", steps=steps, batch_size=64,
                  learning_starts=100, algo={"hidden": (64, 64)})  # fmt: skip
difference = export(run.policy, "onnx", Path("policy.onnx"))
print(f"policy.onnx: off by {difference:.1e} on 10,000 observations, at most")

# From here on it could be another machine.
session = onnxruntime.InferenceSession("policy.onnx")
obs = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], np.float32)  # upright, hanging
(action,) = session.run(None, {"obs": obs})
print("torques:", action.ravel(), "of", run.policy(obs).ravel())
