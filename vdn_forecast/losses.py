"""`LatentMixture`: the forecast distribution of the package as a NeuralForecast loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import neuralforecast
import torch
import torch.nn.functional as F
from neuralforecast.losses.pytorch import GMM, weighted_average

from vdn_forecast import mixture
from vdn_forecast._loss_arguments import (
    BASES,
    EVAL_OBJECTIVES,
    MixtureArgs,
    RawMixture,
    choice,
    finite,
    flag,
    numbers_between,
    objective_weights_of,
    positive_int,
)
from vdn_forecast._mixture_error import mixture_error
from vdn_forecast._mixture_likelihood import normal_mixture_nll, raw_mixture_nll, with_background


class LatentMixture(GMM):
    """Equal-weight mixture over S latent samples x M components, one location and one scale per horizon step
    each.

    A model with this loss emits [B, h, 2 S M]: the S·M locations (sample-major: all components of the first
    sample, then of the second, ...), then as many raw scales. S is read from this last dimension, so that a
    model may use more latent samples in prediction than in training. Mean and quantiles are exact (no Monte
    Carlo, no randomness). For univariate NeuralForecast models.

    Training objectives, in the unit of the standardised window so that every series weighs the same:

    - `"elbo"`: mean over the samples s of −log mean_m p(y | s, m), the reconstruction term of an ELBO;
    - `"mixture"`: −log mean over s and m of p(y | s, m), never above the former (Jensen);
    - `"crps"`: closed form (Grimit et al. 2006), Normal components only.

    In validation (the module in eval mode) `eval_objective` is returned instead, in the unit of y like
    NeuralForecast's other validation losses: `"crps"` (closed form for Normal, mean of twice the pinball
    loss at the 19 levels .05 to .95 for Student-t), `"mixture"`, or `"mse"` of the mean; always step by step.

    Args:
        n_samples: S, the latent samples per window in training.
        n_components: M, the components per latent sample.
        base: `"normal"` or `"studentt"`, the density of a component.
        df: Degrees of freedom of `"studentt"`, one of 3, 4, 5, 7, 10; without effect for `"normal"`.
        objective: The name of an objective, or a dict from names to positive weights for their weighted sum.
        eval_objective: What validation reports.
        trajectory: Score whole paths: a window's (s, m) is kept along the horizon, −log mean Π_t p(y_t | s,
            m) over s and m ("mixture") or over m alone before the mean over s ("elbo"), divided by the
            number of observed steps. No effect on "crps", hence refused where that is the only objective.
        level: Levels of the default prediction intervals, in per cent.
        quantiles: Default quantiles, instead of `level`.
        return_params: Append the parameters of all S·M components to the forecasts.
        scale_floor: Lower bound of a scale, as a share of the window's scale.
        background: Added to every density in training, per unit of the standardised window: an improper uniform
            component (Coretto and Hennig 2016) that bounds what one observation can cost by −log(background)
            nats. 0: none. No effect on "crps" and on whole paths, nor outside of training.

    Raises:
        ValueError: For any argument outside of what is allowed.
    """

    ADDED_ARGUMENTS: Mapping[str, Any] = {"background": 0.0}  # as of the models
    quantiles: torch.nn.Parameter  # [Q]
    output_names: list[str]

    def __init__(
        self,
        n_samples: int = 4,
        n_components: int = 4,
        base: str = "normal",
        df: int = 5,
        objective: str | dict[str, float] = "mixture",
        eval_objective: str = "crps",
        trajectory: bool = False,
        level: Sequence[float] = (80, 90),
        quantiles: Sequence[float] | None = None,
        return_params: bool = False,
        scale_floor: float = 1e-3,
        background: float = 0.0,
    ) -> None:
        total = positive_int("n_samples", n_samples) * positive_int("n_components", n_components)
        level = numbers_between("level", level, 100)
        if quantiles is not None:
            quantiles = numbers_between("quantiles", quantiles, 1)
        super().__init__(
            n_components=total,
            level=level,
            quantiles=quantiles,
            return_params=flag("return_params", return_params),
        )
        self.n_samples, self.n_components = n_samples, n_components  # GMM's n_components was the total
        self.base = choice("base", base, BASES)
        mixture.check_df(df)
        if df is None:
            raise ValueError(f"df must be one of {mixture.STUDENT_DFS}, got None.")
        self.df = df if base == "studentt" else None
        self.objective_weights = objective_weights_of(objective)
        self.eval_objective = choice("eval_objective", eval_objective, EVAL_OBJECTIVES)
        if base == "studentt" and "crps" in self.objective_weights:
            raise ValueError(f"objective 'crps' has a closed form for base='normal' only, got base={base!r}.")
        if flag("trajectory", trajectory) and set(self.objective_weights) == {"crps"}:
            raise ValueError("trajectory=True has no effect on objective 'crps', got no other objective.")
        self.trajectory = trajectory
        self.scale_floor = finite("scale_floor", scale_floor, positive=True)
        self.background = finite("background", background)
        self._own_quantiles: list[float] = self.quantiles.tolist()
        self._own_output_names: list[str] = list(self.output_names)

    @property
    def takes_raw(self) -> bool:
        """Whether a training step may hand over a `RawMixture`: the hot path, one objective in closed form."""
        return set(self.objective_weights) == {"mixture"} and self.df is None and not self.trajectory

    def domain_map(self, output: torch.Tensor | RawMixture) -> tuple[torch.Tensor, torch.Tensor] | RawMixture:
        """Split [B, h, 2 S M] into locations and raw scales, [B, h, 1, S M]; S from the last dimension."""
        if isinstance(output, RawMixture):
            return output
        if output.shape[-1] % (2 * self.n_components):
            raise ValueError(
                f"LatentMixture needs 2 x samples x n_components (= {self.n_components}) outputs per step, "
                f"got {output.shape[-1]}."
            )
        loc, raw = output.unsqueeze(-2).chunk(2, dim=-1)
        return loc.contiguous(), raw.contiguous()  # every step after this one is several times slower on strided halves

    def scale_decouple(
        self,
        output: tuple[torch.Tensor, torch.Tensor] | RawMixture,
        loc: torch.Tensor | None = None,
        scale: torch.Tensor | None = None,
    ) -> MixtureArgs | RawMixture:
        """Parameters in the unit of y: loc·scale + shift and (softplus(raw) + scale_floor)·scale.

        Args:
            output: Locations and raw scales of `domain_map`, [B, h, 1, C].
            loc: The windows' shift, [B, 1, 1] or [B, 1, 1, 1], in the unit of y; None for none.
            scale: The windows' scale, likewise.

        Raises:
            ValueError: If there is more than one series per window (a multivariate model).
        """
        if isinstance(output, RawMixture):
            return output._replace(shift=loc, scale=scale)
        unit_loc, raw = output
        unit_scale = F.softplus(raw) + self.scale_floor
        if loc is not None and scale is not None and loc.ndim == 3:
            loc, scale = loc.unsqueeze(-1), scale.unsqueeze(-1)
        if loc is not None and loc.shape[2] != 1:
            raise ValueError(f"LatentMixture is for univariate models, got windows of {loc.shape[2]} series.")
        return MixtureArgs.build(unit_loc, unit_scale, loc, scale)

    def get_distribution(self, distr_args: tuple[torch.Tensor, ...]) -> torch.distributions.MixtureSameFamily:
        """The mixture as a torch distribution of batch shape [B, h, 1], for a point `valid_loss`."""
        loc, scale = distr_args
        weights = torch.distributions.Categorical(logits=torch.zeros_like(loc))
        components: torch.distributions.Distribution
        if self.df is None:
            components = torch.distributions.Normal(loc, scale)
        else:
            components = torch.distributions.StudentT(self.df, loc, scale)
        return torch.distributions.MixtureSameFamily(weights, components)

    def sample(
        self, distr_args: RawMixture | tuple[torch.Tensor, ...], num_samples: int | None = None
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Exact mean and quantiles; despite its inherited name nothing is drawn, and `num_samples` has no effect.

        Returns:
            None (NeuralForecast discards the samples wherever it calls this), mean [B, h, 1, 1], quantiles
            [B, h, 1, Q].

        Raises:
            ValueError: If parameters are to be returned and their number differs from that of their names.
        """
        if isinstance(distr_args, RawMixture):
            self.distr_mean, quantiles = distr_args.forecast(self.quantiles, self.scale_floor)
            return None, self.distr_mean.unsqueeze(-1), quantiles
        loc, scale = distr_args
        if self.return_params and loc.shape[-1] * 2 != len(self.param_names):
            raise ValueError(
                f"return_params=True needs n_samples={self.n_samples} latent samples in prediction too, "
                f"got {loc.shape[-1] // self.n_components}."
            )
        mean = mixture.mixture_mean(loc)
        self.distr_mean = mean.detach()  # read by NeuralForecast's recurrent prediction
        return None, mean.unsqueeze(-1), mixture.mixture_quantiles(loc, scale, self.quantiles, self.df)

    def update_quantile(self, q: Sequence[float] | None = None) -> None:
        """Set the quantiles to predict; None restores the constructor's (GMM falls back to the median)."""
        if q is None:
            levels, names = self._own_quantiles, list(self._own_output_names)
        else:
            levels = numbers_between("quantiles", list(q), 1)
            names = [
                "",
                *(f"_ql{level}" for level in levels),
                *(self.param_names if self.return_params else []),
            ]
        self.quantiles = torch.nn.Parameter(
            torch.tensor(levels, dtype=torch.float32, device=self.quantiles.device), requires_grad=False
        )
        self.output_names = names

    def __call__(
        self, y: torch.Tensor, distr_args: tuple[torch.Tensor, ...], mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The weighted objectives in training, `eval_objective` otherwise.

        Args:
            y: Targets in their own unit, [B, h, 1]. Where `mask` is 0 their values do not matter, NaN
                included.
            distr_args: What `scale_decouple` returned (a plain pair of locations and scales counts as
                standardised).
            mask: Weights of the steps, [B, h, 1]; None for all 1.

        Returns:
            The average over the steps weighted with `mask`, a scalar.
        """
        if isinstance(distr_args, RawMixture):
            if self.training:
                return self._raw_objective(y, distr_args, mask)
            return self._evaluation(y, *distr_args.components(self.scale_floor), mask)
        if not isinstance(distr_args, MixtureArgs):
            distr_args = MixtureArgs.build(distr_args[0], distr_args[1], None, None)
        if not self.training:
            loc, scale = (part.squeeze(2).transpose(1, 2) for part in distr_args)  # [B, C, h]
            return self._evaluation(y, loc, scale, mask)
        loc, scale, target = distr_args.unit_loc, distr_args.unit_scale, distr_args.standardize(y)
        if mask is not None:
            # before any arithmetic with the parameters: a NaN under mask 0 would survive in their gradient
            target = torch.where(mask != 0, target, mixture.mixture_mean(loc).detach())
        weights = self.objective_weights.items()
        return torch.stack([w * self._objective(name, target, loc, scale, mask) for name, w in weights]).sum()

    def _raw_objective(self, y: torch.Tensor, args: RawMixture, mask: torch.Tensor | None) -> torch.Tensor:
        """The "mixture" objective of what a network's head emits, averaged with the weights of `mask`."""
        target = args.standardize(y)  # [B, h]
        if mask is not None:  # a NaN under mask 0 would survive in the gradient
            target = torch.where(mask.squeeze(-1) != 0, target, 0.0)
        if args.base is not None:
            target = target - args.base
        value = with_background(raw_mixture_nll(target, args.raw, self.scale_floor), self.background)
        return self.objective_weights["mixture"] * weighted_average(value.unsqueeze(-1), weights=mask)

    def _objective(
        self, name: str, y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """One training objective, averaged with the weights of `mask`; a scalar."""
        if name == "crps":
            return weighted_average(mixture.mixture_crps(y, loc, scale), weights=mask)
        if name == "mixture" and self.df is None and not self.trajectory:
            value = with_background(normal_mixture_nll(y, loc, scale), self.background)
            return weighted_average(value, weights=mask)
        log_prob = mixture.log_prob_by_component(y, loc, scale, self.df)  # [B, h, 1, C]
        steps: torch.Tensor | float = 1.0
        if self.trajectory:
            weights = torch.ones_like(y) if mask is None else mask
            observed = weights != 0  # [B, h, 1]
            log_prob = torch.where(observed.unsqueeze(-1), log_prob, torch.zeros_like(log_prob)).sum(1, keepdim=True)
            steps = observed.sum(1, keepdim=True).clamp(min=1)
            mask = weights.sum(1, keepdim=True)  # [B, 1, 1]: a path weighs as much as its steps
        c = loc.shape[-1]
        if name == "elbo":
            by_sample = log_prob.unflatten(-1, (c // self.n_components, self.n_components))  # [.., S, M]
            value = math.log(self.n_components) - torch.logsumexp(by_sample, dim=-1)  # [.., S]
        else:
            value = math.log(c) - torch.logsumexp(log_prob, dim=-1, keepdim=True)
        value = with_background(value, 0.0 if self.trajectory else self.background).mean(-1)
        return weighted_average(value / steps, weights=mask)

    def _evaluation(
        self, y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """`eval_objective`, averaged with the weights of `mask`; y [B, h, 1], loc and scale [B, C, h] in its unit."""
        target = y.squeeze(2)
        if mask is not None:
            target = torch.where(mask.squeeze(2) != 0, target, loc.mean(1).detach())
        values = mixture_error(self.eval_objective, target, loc, scale, self.df)
        return weighted_average(values.unsqueeze(2), weights=mask)


neuralforecast.register_loss(LatentMixture)
