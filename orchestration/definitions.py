"""What Dagster's processes load; how it is put together is in `build`."""

from orchestration.build import build_defs

defs = build_defs()
