"""The commands of the command line: each reads its words, calls the module that does the work, prints the
answer."""
