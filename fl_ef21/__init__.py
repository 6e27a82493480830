"""What both halves of fl_ef21 share: compressors, wire format, state, engine, data, problems."""

__version__ = "0.1.0"
