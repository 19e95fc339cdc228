"""`python -m llmfs`."""

from llmfs.cli import main

if __name__ == "__main__":
    main()
