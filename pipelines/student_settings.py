"""The sections of recipes in which networks are fitted to recordings of some of another network's neurons."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from connectofit.pipelines.config import Settings


class TeachSettings(Settings):
    """The network with hidden parameters, and how it is recorded.

    `hidden_gain`, `hidden_bias`: standard deviations of what is hidden, each neuron's logarithm of the gain and its
    bias. `stimulate`: an expression on the columns of neurons for those that get currents, None for all. `amplitude`,
    `correlation_ms`: of these currents, Ornstein-Uhlenbeck processes. `trials`, `test_trials`: with currents of their
    own, of `duration_ms`. `noise`: standard deviation of the measurement. `every_ms`: between samples.
    """

    hidden_gain: float = Field(default=1.0, ge=0)
    hidden_bias: float = Field(default=0.5, ge=0)
    stimulate: str | None = None
    amplitude: float = Field(default=1.0, gt=0)
    correlation_ms: float = Field(default=100.0, gt=0)
    trials: int = Field(default=10, ge=1)
    test_trials: int = Field(default=5, ge=1)
    duration_ms: float = Field(default=1000.0, gt=0)
    dt_ms: float = Field(default=20.0, gt=0)
    every_ms: float = Field(default=20.0, gt=0)
    noise: float = Field(default=0.05, gt=0)
    seed: int = Field(default=0, ge=0)


class StudentSettings(Settings):
    """The fits: to recordings of each of the `fractions` of neurons, chosen by each of the `seeds`.

    `controls`: wiring rewired, the students' wiring left out ("unwired"), and the network as it was before its
    parameters were hidden ("unfitted"). `forcing`: whether students are held to the recording at first. `directions`:
    of the fit with the first seed, whether it is worked out what its recordings determine.
    """

    fractions: tuple[float, ...] = Field(default=(0.05, 0.1, 0.2, 0.5), min_length=1)
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    controls: tuple[Literal["rewired", "unwired", "unfitted"], ...] = ("rewired", "unwired", "unfitted")
    steps: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    forcing: bool = True
    directions: bool = True
