"""Layers that several families of networks use, one technique per file, and the first weights of all layers."""
