"""The EVE paper's suite once more, plainly: numpy control in float64, torch layers, numbers written out."""

import math

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def plain_windows(n_series, rows, seed, look_back=336, h=96, stride=4, sizes=(400, 200, 200)):
    """(series, origin) pairs of train, validation and test."""
    first, last = look_back + stride, rows - h
    n = last - first
    cut1, cut2 = first + int(0.7 * n), first + int((0.7 + 0.2) * n)
    found = []
    for offset, (start, stop) in enumerate([(first, cut1), (cut1, cut2), (cut2, last)]):
        rng = np.random.RandomState(seed + offset)
        pairs = []
        for series in range(n_series):
            pairs += [(series, t) for t in rng.choice(list(range(start, stop)), size=sizes[offset], replace=False)]
        found.append(pairs)
    return found


class PlainControl:
    """Everything that is not a gradient step; loops over units where that is plainest."""

    def __init__(self, n, variant, warmup=200, ramp=200, act_every=10, calibrate_every=200):
        self.n, self.variant = n, variant
        self.warmup, self.ramp, self.act_every, self.calibrate_every = warmup, ramp, act_every, calibrate_every
        targets = np.array([0.03 * 8.0 ** (-1 + 2 * i / (n - 1)) for i in range(n)])
        self.base_lo, self.base_hi = 0.8 * targets, 1.6 * targets
        self.s_lo = self.s_hi = 1.0
        self.beta = np.full(n, 1e-3)
        self.kl_ema = self.window_ema = self.energy_ema = self.alive_ema = None

    def band(self):
        return self.base_lo * self.s_lo, self.base_hi * self.s_hi

    def strength(self, step):
        return 3 * min(max((step - self.warmup) / self.ramp, 0), 1)

    def high_weight(self):
        if self.variant != "homeo" or self.energy_ema is None:
            return 1.0
        return 0.3 if np.mean(self.energy_ema < self.band()[0]) > 0.35 else 1.0

    def penalty(self, e, weight=1.0):
        """On torch energies [N]."""
        lo, hi = (torch.tensor(bound, dtype=e.dtype) for bound in self.band())
        total = 0.0
        for i in range(self.n):
            below = max(lo[i] - e[i], e[i] * 0) / max(float(lo[i]), 1e-3)
            above = max(e[i] - hi[i], e[i] * 0) / max(float(hi[i]), 1e-3)
            total = total + below**2 + weight * above**2
        return total / self.n

    def thermostat(self, kl):
        """kl [B, N]."""
        self.kl_ema = _average(self.kl_ema, kl.mean(0), 0.1)
        self.window_ema = _average(self.window_ema, (kl > 1e-4).mean(0), 0.1)
        for i in range(self.n):
            error = 0.0
            if self.kl_ema[i] < 0.05:
                error = self.kl_ema[i] - 0.05
            if self.kl_ema[i] > 0.30:
                error = self.kl_ema[i] - 0.30
            if self.window_ema[i] < 0.05:
                error -= abs(error) + 0.5
            self.beta[i] = min(max(math.exp(min(math.log(self.beta[i]) + 0.2 * error, 0)), 1e-6), 1e-2)
        mean = self.beta.mean()
        self.beta = np.clip(self.beta, mean / 4, mean * 4)

    def calibrate(self, e):
        low, high = np.quantile(e / self.base_lo, 0.2), np.quantile(e / self.base_hi, 0.9)
        self.s_lo = min(max(self.s_lo**0.7 * low**0.3, 0.02), 5.0)
        self.s_hi = max(min(max(self.s_hi**0.7 * high**0.3, 0.02), 5.0), 1.05 * self.s_lo)

    def after_step(self, mu, kl, step):
        """Returns (factor of the rows of mu, function on log sigma) where something is to be done, else None."""
        if self.variant != "homeo":
            return None
        e = (mu**2).mean(0)
        self.energy_ema = _average(self.energy_ema, e, 0.05)
        self.alive_ema = _average(self.alive_ema, ((e > 1e-4) & (kl.mean(0) > 1e-4)).astype(float), 0.05)
        if step >= self.warmup and (step - self.warmup) % self.calibrate_every == 0:
            self.calibrate(self.energy_ema)
        if step < self.warmup or (step - self.warmup) % self.act_every:
            return None
        self.thermostat(kl)
        lo, hi = self.band()
        out = np.mean((self.energy_ema < lo) | (self.energy_ema > hi))
        eta = min(0.5, 0.15 * (1 + 2 * out))
        factor = np.ones(self.n)
        for i, e in enumerate(self.energy_ema):
            target = lo[i] if e < lo[i] else hi[i] if e > hi[i] else math.sqrt(lo[i] * hi[i])
            factor[i] = min(max((target / max(e, 1e-12)) ** (eta / 2), 0.5), 2.0)
        kick = 0.02 * (self.alive_ema < 0.05)

        def guard(log_sigma):
            return np.minimum(np.clip(log_sigma, math.log(0.15), math.log(5)) + kick, math.log(5))

        return factor, guard

    def project(self, e):
        """Factor of the rows of mu."""
        lo, hi = self.band()
        factor = np.ones(self.n)
        for i in range(self.n):
            if e[i] < lo[i]:
                factor[i] = math.sqrt(lo[i] / e[i])
            if e[i] > hi[i]:
                factor[i] = math.sqrt(hi[i] / e[i])
        return np.clip(factor, 1 / 50, 50)


def _average(old, new, rate):
    return new if old is None else (1 - rate) * old + rate * new


def plain_run(
    values, variant, seed, *, windows, look_back, h, hidden, n, epochs, batch, probe=10, reach=50, **schedule
):
    """One run of the suite on `values` [n_series, T]; returns the figures of its chosen epoch."""
    data = []
    for pairs in windows:
        x = torch.stack([torch.tensor(values[s, t - look_back : t]) for s, t in pairs])
        y = torch.stack([torch.tensor(values[s, t : t + h]) for s, t in pairs])
        data.append(TensorDataset(x, y))
    train = DataLoader(data[0], batch, shuffle=True, drop_last=True)
    validation, test = DataLoader(data[1], batch), DataLoader(data[2], batch)
    torch.manual_seed(seed)
    encoder, mu_layer, head = nn.Linear(look_back, hidden), nn.Linear(hidden, n), nn.Linear(n, h)
    log_sigma = nn.Parameter(torch.full((n,), math.log(0.5)))
    parameters = [*encoder.parameters(), *mu_layer.parameters(), log_sigma, *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
    control = PlainControl(n, variant, **schedule)

    def forward(x):
        mu = mu_layer(encoder(x).clamp(min=0))
        sigma = log_sigma.exp().clamp(1e-4, 10)
        kl = 0.5 * (mu**2 + sigma**2 - torch.log(sigma**2) - 1)
        return head((mu + sigma * torch.randn_like(mu)) / math.sqrt(n)), mu, kl

    def rescale(factor):
        with torch.no_grad():
            mu_layer.weight *= torch.tensor(factor, dtype=torch.float32)[:, None]
            mu_layer.bias *= torch.tensor(factor, dtype=torch.float32)

    def kl_term(kl):
        return (torch.tensor(control.beta, dtype=torch.float32) * kl).sum(1).mean()

    @torch.no_grad()
    def first(count):
        found = []
        for number, (x, _) in enumerate(train):
            if number == count:
                break
            found.append(forward(x)[1:])
        return found

    @torch.no_grad()
    def figures(loader):
        rows, weights, energies = [], [], []
        for x, y in loader:
            forecast, mu, kl = forward(x)
            e = (mu**2).mean(0)
            mse, band = ((forecast - y) ** 2).mean(), control.penalty(e)
            lo, hi = (torch.tensor(bound) for bound in control.band())
            low, high = (e < lo).double().mean(), (e > hi).double().mean()
            loss = mse + kl_term(kl) + 3 * band
            rows.append([loss, mse, (forecast - y).abs().mean(), kl.sum(1).mean(), band, e.mean(), low, high])
            weights.append(len(x))
            energies.append(e.double().numpy())
        table = np.array([[float(cell) for cell in row] for row in rows])
        pooled = np.average(energies, axis=0, weights=weights)
        by_window, by_batch = np.average(table[:, :5], axis=0, weights=weights), table[:, 5:].mean(0)
        nominal = np.mean((pooled < control.base_lo) | (pooled > control.base_hi))
        names = ("loss", "mse", "mae", "kl", "band", "mu2_mean", "frac_too_low", "frac_too_high")
        found = dict(zip(names, [*by_window, *by_batch], strict=True))
        return {**found, "out": by_batch[1] + by_batch[2], "out_nominal": nominal}

    step, best = 0, None
    for epoch in range(1, epochs + 1):
        for x, y in train:
            forecast, mu, kl = forward(x)
            loss = ((forecast - y) ** 2).mean() + kl_term(kl)
            loss = loss + control.strength(step) * control.penalty((mu**2).mean(0), control.high_weight())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            acts = control.after_step(mu.detach().double().numpy(), kl.detach().double().numpy(), step)
            if acts is not None:
                rescale(acts[0])
                with torch.no_grad():
                    log_sigma.copy_(torch.tensor(acts[1](log_sigma.double().numpy())))
            step += 1
        if variant != "homeo":
            control.thermostat(torch.cat([kl for _, kl in first(probe)]).double().numpy())
        if variant == "projON":
            contexts = []
            for number, (x, _) in enumerate(train):
                if number < reach:
                    contexts.append((mu_layer(encoder(x).clamp(min=0)) ** 2).mean(0).detach().double().numpy())
            rescale(control.project(np.mean(contexts, axis=0)))
            iter(train).__next__()  # the author's second look
        if variant == "projOFF" and step >= control.warmup:
            control.calibrate(np.mean([(mu**2).mean(0).double().numpy() for mu, _ in first(probe)], axis=0))
        found = {f"val_{name}": value for name, value in figures(validation).items()}
        found |= {f"test_{name}": value for name, value in figures(test).items()}
        if best is None or found["val_loss"] < best["val_loss"]:
            best = {"best_epoch": epoch, **found}
    return {**best, "steps": step}
