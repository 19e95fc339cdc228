"""The programs whose accesses are recorded for training, by kind; bench/recorded.py lists them."""
