"""Make some blocks of an archive: ``python -m deepcams_eval.demo FOLDER SETTINGS NUMBER…``.

Prints a line a block when it is done. `deepcams_eval.demo.archive` starts it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepcams_eval.demo.archive import make_block
from deepcams_eval.demo.settings import DemoSettings


def main(arguments: list[str]) -> None:
    """Make the blocks that `arguments` number."""
    folder, settings, *numbers = arguments
    for number in numbers:
        make_block(Path(folder), DemoSettings.from_json(settings), int(number))
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
