"""The definitions that Dagster's processes load; their assembly is in `build`."""

from streaming.system.loading import kept_modules

# A quarter of the CPU time of this was garbage collection. Later, a collection that went through
# all that is loaded would cost some ticks 0.2 s.
with kept_modules():
    from orchestration.build import build_defs

    defs = build_defs()
