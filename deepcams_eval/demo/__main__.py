"""Make blocks of an archive: ``python -m deepcams_eval.demo FOLDER SETTINGS NUMBER…``.

Prints a line a block when it is done. `deepcams_eval.demo.archive` starts it.
"""

import sys
from pathlib import Path

from deepcams_eval.demo.archive import make_block
from deepcams_eval.demo.settings import DemoSettings

if __name__ == "__main__":
    folder, settings, *numbers = sys.argv[1:]
    for number in numbers:
        make_block(Path(folder), DemoSettings.from_json(settings), int(number))
        print(number, flush=True)
