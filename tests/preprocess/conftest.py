"""Lets worker processes import the small screens of this folder by name, as they must to read tiles."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
