"""Joint paths of a model's own mixture beside the same marginals joined in other ways, and beside another model's.

Every reordering is the model's own ensemble, put into another order step by step: the marginals are the same numbers,
only what goes together with what differs.
"""
