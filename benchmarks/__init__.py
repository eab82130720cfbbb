"""Measures fastcopy beside its peers and beside the least a client can do. Knows nothing of fastcopy's insides."""
