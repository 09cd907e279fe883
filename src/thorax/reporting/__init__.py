"""HTML and Markdown: the report of a run, the audit page, the interactive viewer."""
