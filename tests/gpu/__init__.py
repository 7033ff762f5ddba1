"""`make gpu-check`: powerd on a real NVIDIA GPU. Not part of `make test`, which needs none."""
