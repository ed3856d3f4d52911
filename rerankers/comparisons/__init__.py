"""Rerankers that compare a few passages at a time with a chat model, and the sorts that they drive."""
