"""What belongs to a process: signals, locks, freed memory, its terminal; knows no other room."""
