"""The text format that Prometheus scrapes, version 0.0.4: families of samples to text.

Pure. Knows the escaping and the order of lines; refuses to know what is measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Sample:
    """One number; `suffix` is what a summary's samples have behind the family's name (``_sum``, ``_count``)."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Everything that is measured under one name; raises ValueError for a name that the format forbids."""

    name: str
    kind: Literal["counter", "gauge", "summary"]
    help: str
    samples: tuple[Sample, ...] = ()

    def __post_init__(self) -> None:
        labels = {label for sample in self.samples for label in sample.labels}
        if not _NAME.fullmatch(self.name) or not all(map(_LABEL.fullmatch, labels)):
            raise ValueError(f"{self.name} {sorted(labels)} cannot be exposed")


def render(families: Iterable[Family]) -> str:
    """One exposition; families without samples are left out."""
    return "".join(_family(family) for family in families if family.samples)


def _family(family: Family) -> str:
    head = f"# HELP {family.name} {_escaped(family.help)}\n# TYPE {family.name} {family.kind}\n"
    return head + "".join(f"{family.name}{_sample(sample)}\n" for sample in family.samples)


def _sample(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value, quote=True)}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.suffix}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(float(value))
