"""Backbones that travel with the package: a folder each, with weights, card and the command that made them."""
