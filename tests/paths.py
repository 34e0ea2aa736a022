"""Where the tests find the project, and data that may be absent."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE_IMAGES = ROOT / "example_images"
SHARED = ROOT.parent / "shared"  # not part of the project
