"""What decides. No I/O, no clock, no randomness in here: facts come in as arguments, decisions go out."""
