"""Other people's implementations, to compare with."""

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.generators import environment

GBSTATS = ("gbstats==0.8.0", "numpy==1.26.4", "pandas==1.5.3")  # it wants numpy 1, we have 2
SCRIPT = Path(__file__).with_name("gbstats_answers.py")


def savvi(module: str) -> ModuleType:
    """A module of savvi, which imports matplotlib for plots without asking for it: where absent, it gets none."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        if importlib.util.find_spec("matplotlib") is None:
            for name in ("matplotlib", "matplotlib.pyplot"):
                patch.setitem(sys.modules, name, ModuleType(name))
        return importlib.import_module(f"savvi.{module}")


def gbstats(questions: dict[str, Any]) -> dict[str, Any]:
    """
    What GrowthBook's gbstats answers (gbstats_answers.py says what may be asked), in an environment of its own, which
    is made below .cache on the first call.
    """
    try:
        python = environment("gbstats", *GBSTATS) / "python"
    except (subprocess.CalledProcessError, OSError) as error:
        pytest.skip(f"the environment with {GBSTATS[0]} could not be made: {error}")
    asked = json.dumps(questions)
    answer = subprocess.run([python, SCRIPT], input=asked, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found
