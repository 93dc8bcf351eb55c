"""One file for each thing that is shown: a value in, a text for people or for programs out. Nothing is printed here."""
