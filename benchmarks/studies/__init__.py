"""Questions put to validation, with their answers: a note, a file of runs or a script each, rows in `results`."""
