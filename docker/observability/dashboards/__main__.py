"""`python -m dashboards [FOLDER]`, in docker/observability: writes the JSON that Grafana is provisioned from."""

import json
import sys
from pathlib import Path

from .experiments import EXPERIMENTS
from .overview import OVERVIEW
from .process import PROCESS
from .ranking import RANKING
from .state import STATE

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"


def main(folder: Path) -> None:
    """Writes every dashboard into `folder`."""
    for each in (OVERVIEW, RANKING, EXPERIMENTS, STATE, PROCESS):
        text = json.dumps(each.json(), indent=1, ensure_ascii=False)
        (folder / f"{each.name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
