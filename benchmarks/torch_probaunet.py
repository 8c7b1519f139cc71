"""A straightforward PyTorch ProbaUNet of the same layer shapes, for `network_speed.py`; needs only torch.

Run by `network_speed.py` in an environment of its own: prints one JSON line {"training": images/s, "sampling":
draws/s}.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


def convolutions(cin, cout, count):
    layers = []
    for i in range(count):
        layers += [nn.Conv2d(cin if i == 0 else cout, cout, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    def __init__(self, cin, channels, count):
        super().__init__()
        self.blocks = nn.ModuleList(convolutions(a, b, count) for a, b in zip([cin, *channels[:-1]], channels))

    def forward(self, x):
        scales = []
        for i, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if i else x)
            scales.append(x)
        return scales


class ProbaUNet(nn.Module):
    """Global latent, prior net of its own: the network of Kohl et al. 2018."""

    def __init__(self, channels, count, head, layers, latent):
        super().__init__()
        self.encoder = Encoder(1, channels, count)
        pairs = list(zip(channels[:0:-1], channels[-2::-1]))
        self.reduce = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.decode = nn.ModuleList(convolutions(2 * b, b, count) for _, b in pairs)
        self.features = nn.Conv2d(channels[0], head, 1)
        self.prior = Encoder(1, channels, count)
        self.posterior = Encoder(4, channels, count)
        self.prior_gaussian = nn.Conv2d(channels[-1], 2 * latent, 1)
        self.posterior_gaussian = nn.Conv2d(channels[-1], 2 * latent, 1)
        mix = [nn.Conv2d(head + latent, head, 1), nn.ReLU()]
        for _ in range(layers - 1):
            mix += [nn.Conv2d(head, head, 1), nn.ReLU()]
        self.head = nn.Sequential(*mix, nn.Conv2d(head, 3, 1))

    def unet(self, x):
        *skips, x = self.encoder(x)
        for reduce, block, skip in zip(self.reduce, self.decode, reversed(skips)):
            x = F.interpolate(reduce(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return self.features(x)

    @staticmethod
    def gaussian(conv, x):
        mu, log_sigma = conv(x[-1].mean((2, 3), keepdim=True)).float().chunk(2, 1)
        return torch.distributions.Normal(mu, log_sigma.exp())

    def logits(self, features, z):
        z = z.to(features.dtype).expand(-1, -1, *features.shape[2:])
        return self.head(torch.cat([features, z], 1))

    def loss(self, x, y):
        truth = F.one_hot(y, 3).permute(0, 3, 1, 2).to(x.dtype) - 0.5
        prior = self.gaussian(self.prior_gaussian, self.prior(x))
        posterior = self.gaussian(self.posterior_gaussian, self.posterior(torch.cat([x, truth], 1)))
        logits = self.logits(self.unet(x), posterior.rsample())
        cross_entropy = F.cross_entropy(logits.float(), y, reduction="sum") / len(x)
        return cross_entropy + torch.distributions.kl_divergence(posterior, prior).sum() / len(x)


def rate(work, items, repeats):
    """Median of items a second, after two warm-ups."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return items / statistics.median(times[2:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--shape", required=True, help="JSON: channels, count, head, layers, latent, batch, draws, repeats"
    )
    parser.add_argument("--bfloat16", action="store_true", help="autocast to bfloat16, channels last")
    options = parser.parse_args()
    shape = json.loads(options.shape)
    torch.manual_seed(0)
    model = ProbaUNet(shape["channels"], shape["count"], shape["head"], shape["layers"], shape["latent"])
    x = torch.randn(shape["batch"], 1, 64, 64)
    y = torch.randint(0, 3, (shape["batch"], 64, 64))
    if options.bfloat16:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            loss = model.loss(x, y)
        loss.backward()
        optimizer.step()

    def whole_network():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            prior = model.gaussian(model.prior_gaussian, model.prior(x))
            model.logits(model.unet(x), prior.sample()).argmax(1)

    print(
        json.dumps(
            {
                "training": rate(step, shape["batch"], shape["repeats"]),
                "sampling": rate(whole_network, shape["batch"], shape["repeats"]),
            }
        )
    )


if __name__ == "__main__":
    main()
