"""Published figures and tables, reproduced: a folder for each, with what must come out written down beforehand."""
