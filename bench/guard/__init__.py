"""What the guard is worth: a harmless simulator of attacks, recordings of real programs, training and evaluation."""
