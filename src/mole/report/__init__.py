"""Reports: figures, one self-contained HTML page, and video. The only part that imports Matplotlib."""

from mole.report.html import write_report
from mole.report.suite import write_suite_report
from mole.report.video import render_webp, rendering_available, side_by_side

__all__ = ["render_webp", "rendering_available", "side_by_side", "write_report", "write_suite_report"]
