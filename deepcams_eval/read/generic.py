"""Any CF-compliant netCDF or Zarr: everything is read from the file, nothing is assumed."""

from __future__ import annotations

from deepcams_eval.read.source import Source

SOURCE = Source(
    kind="generic",
    variables=("pm25", "pm2p5", "pm2_5", "pm2p5_conc", "pm25_rh35_gcc"),
    recognises=lambda _: True,
)
