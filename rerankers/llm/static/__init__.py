"""Forward passes of common decoders in few operations, on fixed buffers."""
