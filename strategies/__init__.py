"""Server half of each method. `flower.py` is the only file that speaks to Flower."""
