"""What many devices have answered, brought together on USB sticks: packs and campaigns."""
