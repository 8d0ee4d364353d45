"""The machine this runs on: its clock, disk, temperature, power, camera and accelerators."""
