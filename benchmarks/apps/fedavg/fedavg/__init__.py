"""An ordinary Flower app; it knows nothing of the engine that runs it."""
