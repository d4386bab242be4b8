"""The report of a run, as HTML and Markdown, from the files that its stages wrote."""
