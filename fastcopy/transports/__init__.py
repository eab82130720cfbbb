"""Places images are read from and written to: one module per transport behind the contracts of `base`."""
