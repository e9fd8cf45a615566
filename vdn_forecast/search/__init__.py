"""A search over KL weights, energy bands and sizes that one can leave running."""
