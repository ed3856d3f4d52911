"""Chat models behind one interface: conversations, backends, templates, and the base of chat rerankers."""
