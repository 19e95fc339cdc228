"""Where candidates come from: one source a file, dictionary work only, O(1) an access, bounded in memory."""
