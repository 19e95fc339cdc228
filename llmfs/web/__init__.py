"""The live page of a mount (`llmfs mount --web`): what it shows (history.py, predictions.py), and how it is served."""
