"""What became of one blob at one destination."""

from __future__ import annotations

from dataclasses import dataclass

from fastcopy.errors import FastcopyError
from fastcopy.events import How
from fastcopy.transports.base import Destination


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a blob came to be at one destination; `origin` is the repository it was mounted from.

    `refused`: the repository that it should have been mounted from.
    """

    how: How
    origin: str = ""
    refused: str = ""


Outcomes = dict[Destination, Arrival | FastcopyError]
