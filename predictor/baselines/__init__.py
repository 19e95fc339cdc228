"""Small pure rules: the rivals that learning has to beat, and what a mount falls back on without a predictor."""
