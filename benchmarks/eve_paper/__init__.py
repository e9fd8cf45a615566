"""The EVE paper's own suite (arXiv 2602.18250, Figures 4 and 5), protocol `eve-paper`.

NeuralForecast's loop cannot express it: a fixed list of windows in shuffled epochs, controllers that act on train
batches after an epoch, and an epoch chosen by a validation loss that carries the controlled terms. Hence this small
second loop; units, bands and every control law are those of `vdn_forecast`.
"""
