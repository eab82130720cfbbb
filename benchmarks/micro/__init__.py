"""Small measurements that feed constants: each prints the number a comment in the product quotes."""
