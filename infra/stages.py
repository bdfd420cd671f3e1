"""Whether a stage is one of those in .chalice/config.json: Chalice packages any other as well, without its settings.

python -m infra.stages dev
"""

import json
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[1] / ".chalice" / "config.json"


def complaint(stage: str, config: Path = CONFIG) -> str | None:
    """A sentence on a stage that is not there; None where it is."""
    known = sorted(json.loads(config.read_text())["stages"])
    if stage in known:
        return None
    return f"There is no stage {stage!r}: .chalice/config.json has {', '.join(known)}."


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m infra.stages STAGE\n")
        return 2
    said = complaint(sys.argv[1])
    if said:
        sys.stderr.write(f"{said}\n")
    return 2 if said else 0


if __name__ == "__main__":
    sys.exit(main())
