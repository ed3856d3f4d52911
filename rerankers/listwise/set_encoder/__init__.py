"""Set-Encoder: a cross-encoder whose passages attend to each other through one token each."""
