from pathlib import Path
def write(results, path: Path): pass
