"""What every method promises, for `fl-ef21 check`: the suite runs it on a small problem through the engine."""
