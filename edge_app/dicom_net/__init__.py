"""DICOM over the network: receiving studies and sending answers; holds no logic of scoring."""
