"""Chat models behind one small interface, and what all rerankers with a chat model share."""
