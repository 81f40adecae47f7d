"""Write what a method of your own makes of the kept hours, and score it beside the baselines.

    python examples/score_your_method.py [DIR]

The method here interpolates logarithms in time. All it sees is every third hour of the truth.
"""

import sys

import numpy as np
import xarray as xr

import deepcams_eval as dc
from deepcams_eval.read.product import ProductSpec, open_product

data = sys.argv[1] if len(sys.argv) > 1 else str(dc.demo_archive())

truth = open_product(ProductSpec("truth", f"{data}/geoscf")).field
truth = truth.sel(time=truth["time"].dt.year == 2020)
kept = truth.sel(time=truth["time"].dt.hour % 3 == 0)

logarithm = np.log(kept.drop_vars(["time_start", "time_end"]).clip(min=0.01).load())
mine = np.exp(logarithm.interp(time=truth["time"].values)).astype("float32")
mine.attrs = {"units": "ug m-3", "cell_methods": "time: mean"}
xr.Dataset({"pm25": mine}).to_netcdf("mine.nc")

result = dc.simulation(
    2020,
    data=data,
    task="temporal",
    methods=["nearest", "linear", "dis"],
    predictions={"mine": "mine.nc,freq=1h"},
)
mean = result.summary.query("weights == 'none' and aggregate == 'months'").sort_values("rmse")
print(mean[["method", "n_samples", "r", "rmse", "mae"]].round(3).to_string(index=False))
