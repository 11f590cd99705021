"""Is green as good as blue? A module for each kind of question; all are asked of Qdrant, not of Teal's memory."""
