"""What a clinic learns of its own pictures: accuracy, its own cut-offs, drift; scores nothing."""
