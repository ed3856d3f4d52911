"""Set-Encoder: a cross-encoder whose passages see each other through one token each."""
