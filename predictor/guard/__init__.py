"""Tells programs that encrypt other people's files from those that work with their own. Decides, and acts not."""
