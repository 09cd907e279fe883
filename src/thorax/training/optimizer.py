"""Optimizers by name, on a schedule, with weight decay, clipping, averaging and accumulation."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from thorax.common.errors import InputError
from thorax.common.params import TrainParams
from thorax.training.schedule import LearningRate

_UNDECAYED = re.compile("bias|gamma|beta")

_BETA_2 = 0.999


def make_optimizer(
    params: TrainParams,
    variables: Sequence[Any],
    *,
    steps: int,
    encoder: Callable[[str], bool] = lambda _: False,
    scale_loss: bool = False,
) -> Any:
    """Make the optimizer that the parameters ask for, built for the variables.

    Args:
        params: Name, rate, schedule, decay, clipping, average, accumulation.
        variables: Trainable ones of the network.
        steps: Of the whole training.
        encoder: Whether a layer of that name belongs to the encoder, which learns at
            ``encoder_rate`` times the rate.
        scale_loss: Whether the loss is scaled up against vanishing half-precision gradients.

    Raises:
        InputError: Two kinds of clipping are asked for at once.
    """
    if params.clip_norm and params.clip_value:
        raise InputError(
            "gradients are clipped by norm or by value, but `train.clip_norm` and "
            "`train.clip_value` are both set; set one of them to 0"
        )
    inner = _make_plain(params, steps)
    inner.assign_rates(
        [
            params.encoder_rate if encoder(variable.path.split("/")[0]) else 1.0
            for variable in variables
        ]
    )
    optimizer = keras.optimizers.LossScaleOptimizer(inner) if scale_loss else inner
    optimizer.build(list(variables))
    return optimizer


def unwrap_loss_scaling(optimizer: Any) -> Any:
    """The optimizer itself, without the one around it that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _make_plain(params: TrainParams, steps: int) -> Any:
    kinds: dict[str, tuple[type, dict[str, Any]]] = {
        "adamw": (_Adam, {"beta_2": _BETA_2}),
        "adam": (_Adam, {"beta_2": _BETA_2}),
        "sgd": (_SGD, {"momentum": params.momentum, "nesterov": True}),
        "lion": (_Lion, {}),
    }
    kind, settings = kinds[params.optimizer]
    return kind(
        decay=params.weight_decay,
        decoupled=params.optimizer != "adam",
        name=params.optimizer,
        learning_rate=LearningRate(params, steps=steps),
        use_ema=params.ema_momentum > 0,
        ema_momentum=params.ema_momentum,
        global_clipnorm=params.clip_norm or None,
        clipvalue=params.clip_value or None,
        gradient_accumulation_steps=params.accumulate if params.accumulate > 1 else None,
        **settings,
    )


class _OptimizerExtras:
    """What an optimizer of Keras gets on top: decay by variable, rates by variable, a log.

    Weight decay is decoupled (Loshchilov and Hutter 2019), a share of the weight times the rate;
    for plain Adam it is L2 regularisation, added to the gradient. Norms and biases are left alone.
    """

    def __init__(self, *, decay: float, decoupled: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._decay, self._decoupled = decay, decoupled
        self._rates: list[float] = []

    def assign_rates(self, rates: Sequence[float]) -> None:
        """Give each variable, in order, its share of the learning rate."""
        self._rates = list(rates)

    def build(self: Any, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)  # type: ignore[misc]
        self._decays = [
            0.0 if _UNDECAYED.search(variable.name) else self._decay for variable in variables
        ]
        self.factor = self.add_variable((), initializer="ones", name="factor")
        self.norms = self.add_variable((), initializer="zeros", name="gradient_norms")

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay and update one variable."""
        number = self._get_variable_index(variable)
        rate = learning_rate * self._rates[number]
        if self._decays[number] and self._decoupled:
            self.assign_sub(variable, variable * ops.cast(rate * self._decay, variable.dtype))
        elif self._decays[number]:
            gradient = gradient + self._decay * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Do nothing: Keras calls this whenever a fit ends, and here each epoch is one.

        Training goes on with the weights themselves; their average is for `average_into`.
        """

    def average_into(self, variables: Sequence[Any]) -> None:
        """Give the variables their moving averages, where such are kept."""
        super().finalize_variable_values(variables)  # type: ignore[misc]

    def _update_model_variables_moving_average(self: Any, variables: Sequence[Any]) -> None:
        """Follow the weights closely at first, or a short training would keep its first ones.

        The momentum after t steps is ``min(average, t / (t + 9))``. Keras averages after every
        batch, whether or not it made a step, so each of the batches of a step has its share.
        """
        done = ops.cast(self.iterations, "float32")
        momentum = ops.minimum(self.ema_momentum, done / (done + 9.0))
        if self.gradient_accumulation_steps:
            momentum = momentum ** (1 / self.gradient_accumulation_steps)
        for variable, average in zip(variables, self._model_variables_moving_average, strict=True):
            average.assign(momentum * average + (1.0 - momentum) * variable)

    def _get_current_learning_rate(self: Any) -> Any:
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        return rate * ops.convert_to_tensor(self.factor)

    def _clip_gradients(self: Any, grads: list[Any]) -> list[Any]:
        """Log and clip the gradient of the whole batch, where devices have parts of it, too."""
        whole, devices = _over_devices(grads)
        squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in whole]
        self.norms.assign_add(ops.sqrt(sum(squares)))
        clipped = super()._clip_gradients(whole)  # type: ignore[misc]
        # Keras adds up what the devices have after this.
        return clipped if devices == 1 else [gradient / devices for gradient in clipped]


def _over_devices(gradients: list[Any]) -> tuple[list[Any], int]:
    """The sum over the devices of a `MirroredStrategy`, and how many there are.

    JAX knows only whole batches, however many devices share them.
    """
    if keras.backend.backend() != "tensorflow":
        return gradients, 1
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return gradients, 1
    summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return list(summed), replica.num_replicas_in_sync


class _Adam(_OptimizerExtras, keras.optimizers.Adam):  # type: ignore[misc]
    pass


class _SGD(_OptimizerExtras, keras.optimizers.SGD):  # type: ignore[misc]
    pass


class _Lion(_OptimizerExtras, keras.optimizers.Lion):  # type: ignore[misc]
    pass
