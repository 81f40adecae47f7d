"""``python -m deepcams_models``, which ``torchrun -m`` needs."""

from deepcams_models.cli import main

main()
