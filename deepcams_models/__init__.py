"""Neural networks that refine PM2.5 in time (XVFI) and in space (ABPN). Needs torch."""
