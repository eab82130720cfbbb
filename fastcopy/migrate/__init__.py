"""Many images in one run: rules become jobs, jobs become copies, and whatever happens becomes a report."""

from __future__ import annotations
