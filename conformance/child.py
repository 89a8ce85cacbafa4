"""Asks an adapter, in the interpreter of the library that it speaks for.

    python -m conformance.child ADAPTER.py < requests

Requests are a JSON list of [quantity, keyword arguments]; the answers, one for each,
follow `conformance: ` on a line of their own. An answer is {"value": …},
{"absent": true} or {"error": "…"}. It imports nothing but the standard library and the
adapter.
"""

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def load(path: Path) -> ModuleType:
    """A Python file as a module, whatever its name: `torchrl.py` hides no torchrl."""
    spec = importlib.util.spec_from_file_location("conformance_adapter", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(adapter: ModuleType, quantity: str, arguments: dict[str, Any]) -> Any:
    """What the adapter says to one request; its errors are answers too."""
    function = getattr(adapter, quantity, None)
    if function is None:
        return {"absent": True}
    try:
        value = function(**arguments)
        json.dumps(value)  # what is no number of JSON's is this answer's fault alone
        return {"value": value}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        return {"error": f"{type(error).__name__}: {error} ({at})"}


def main() -> None:
    """Reads the requests, prints the answers."""
    adapter = load(Path(sys.argv[1]))
    said = [answer(adapter, *request) for request in json.load(sys.stdin)]
    about = {
        "versions": getattr(adapter, "versions", dict)(),
        "differs": getattr(adapter, "DIFFERS", {}),
        "read": getattr(adapter, "READ", {}),
    }
    print("\nconformance: " + json.dumps({**about, "answers": said}), flush=True)


if __name__ == "__main__":
    main()
