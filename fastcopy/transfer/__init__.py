"""The rooms that open nurseries: gate, single flight, carrying one blob, copying one image."""

from __future__ import annotations
