"""What the theorems speak of, for a problem that is there: its constants, the step sizes they allow, and the rounds.

smoothness.py, noise.py, infimum.py estimate constants; steps.py and complexity.py are the theorems; measured.py is what
of a theorem's Lyapunov function can be measured while a method runs.
"""
