"""Command lines: each turns options into settings, runs one road and reports."""
