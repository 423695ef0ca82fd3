"""Frames per second of the whole pipeline, beside what a user would otherwise take, in one run."""

from pipeline.bench.facts import machine
from pipeline.bench.plan import Ears, Plan
from pipeline.bench.row import Row
from pipeline.bench.run import RIVALS, bench, measure, rivals_and
from pipeline.bench.show import tables
from pipeline.bench.timed import WARM_UP

__all__ = ["RIVALS", "WARM_UP", "Ears", "Plan", "Row", "bench", "machine", "measure", "rivals_and", "tables"]
