"""The definitions that Dagster's processes load; their assembly is in `build`."""

import gc

from orchestration.build import build_defs

defs = build_defs()
# All that is loaded stays: a collection that traverses it would cost some ticks 0.2 s.
gc.freeze()
