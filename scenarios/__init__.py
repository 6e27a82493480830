"""What a person runs: scenarios, the runner, the command line, reports."""
