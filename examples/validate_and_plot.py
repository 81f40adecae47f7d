"""Validate products against stations and draw the density of pairs of one product and year.

    python examples/validate_and_plot.py [DIR]

DIR holds openaq/, cams/ and so on; without it the synthetic archive is made and used.
"""

import sys

import deepcams_eval as dc

data = sys.argv[1] if len(sys.argv) > 1 else "demo"
year = 2019

result = dc.insitu(year, data=data, sensitivity=False)

columns = ["product", "n", "stations", "r", "rmse", "mae"]
whole = result.scores.query("stratum == 'all' and sample == 'common'")
print(whole[columns].round(3).to_string(index=False))

result.plot.scatter("cams", year).savefig("scatter.png", dpi=150)
print("scatter.png")
