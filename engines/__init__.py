"""The network at run time and the two fusion rules: luma in, luma out; no video, no torch."""
