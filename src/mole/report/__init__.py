"""Reports: figures, one self-contained HTML page, and video. The only part that imports Matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mole._lazy import lazy

if TYPE_CHECKING:
    from mole.report.html import write_report
    from mole.report.suite import write_suite_report
    from mole.report.video import render_webp, rendering_available, side_by_side

__all__ = ["render_webp", "rendering_available", "side_by_side", "write_report", "write_suite_report"]

# The report of a stream needs no simulator, those of control do.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "html": "write_report",
        "suite": "write_suite_report",
        "video": "render_webp rendering_available side_by_side",
    },
)
