"""The names that programs give to the same field; the first of each is the one that this project writes."""

QUERY_ID = ("qid", "query_id", "query-id", "_id", "id")
DOC_ID = ("docid", "docno", "doc_id", "pid", "id")
CONTENT = ("content", "text", "contents", "segment", "body", "passage")
"""Names of the text in a hit or a pair."""

DOC_TEXT = ("text", "segment", "contents", "content", "body", "passage")
"""Names of the text in a hit's `doc`, in rank_llm's order; like there, `headings` and `url` are not read."""
