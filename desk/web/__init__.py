"""The desk: pages for intake in the evening and review in the morning. Routes, templates, files; no decisions."""
