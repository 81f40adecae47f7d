"""The tables and figures of Xiao et al. (2022) made again, from whatever data are at hand."""
