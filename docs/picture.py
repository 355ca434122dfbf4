"""Draw the picture of the README: ``python docs/picture.py runs/eval docs/alternate.png``."""

import io
import sys
from pathlib import Path

from PIL import Image

from mole.control.records import EpisodeRecord
from mole.report import figures

SHOWN = ("mole", "kshot", "continuous", "supervised")


def main(folder: str, target: str) -> None:
    """Stack return and one-step error over time, the methods of ``SHOWN``, all seeds."""
    paths = sorted(path for path in Path(folder).glob("*.npz") if not path.name.endswith(".actions.npz"))
    records = [EpisodeRecord.load(path) for path in paths]
    runs = [record for record in records if record.meta["method"] in SHOWN]
    images = []
    for draw in (figures.return_over_time, figures.errors):
        buffer = io.BytesIO()
        draw(runs).savefig(buffer, format="png", dpi=110, facecolor="white")
        images.append(Image.open(buffer).convert("RGB"))
    picture = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    top = 0
    for image in images:
        picture.paste(image, (0, top))
        top += image.height
    picture.save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
