"""What the CPU spends its time on, compiled with numba: one pass over memory where torch would take many.

Every kernel has a plain counterpart in torch, which other devices use and tests hold it against.
"""
