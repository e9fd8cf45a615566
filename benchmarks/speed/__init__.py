"""What things cost on this machine: paired measurements, rows with command and versions."""
