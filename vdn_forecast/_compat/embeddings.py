"""The learned embeddings of categorical columns, which NeuralForecast looks up before a model's `forward`."""

from neuralforecast.common._base_model import BaseModel
from torch import nn

TABLES = ("hist_cat_embeddings", "futr_cat_embeddings", "stat_cat_embeddings")


def embedding_tables(model: BaseModel) -> nn.ModuleList:
    """Historic, future and static ones, a list of tables each (empty without such columns)."""
    return nn.ModuleList(getattr(model, name) for name in TABLES)
