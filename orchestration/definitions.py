"""What Dagster's processes load; how it is put together is in `build`."""

import gc

from orchestration.build import build_defs

defs = build_defs()
gc.freeze()  # what is loaded stays: looking through it again would cost a tick now and then 0.2 s
