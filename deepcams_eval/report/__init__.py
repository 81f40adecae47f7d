"""Tables, figures and one page out of scores that others computed."""

from __future__ import annotations

from deepcams_eval.report.write import write_report

__all__ = ["write_report"]
