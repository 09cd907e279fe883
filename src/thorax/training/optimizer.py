"""Optimizers with a schedule, weight decay, clipping, moving average and accumulation."""

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
    """Create an optimizer and build it for the variables.

    Args:
        params: Name, learning rate, schedule, decay, clipping, moving average, accumulation.
        variables: Trainable variables of the network.
        steps: Steps of the whole training.
        encoder: Function from the name of a layer to True if it belongs to the encoder, whose
            learning rate is multiplied by ``encoder_rate``.
        scale_loss: Scale the loss up, so that float16 gradients do not vanish.

    Raises:
        InputError: Both kinds of clipping are set.
    """
    if params.clip_norm and params.clip_value:
        raise InputError(
            "`train.clip_norm` or `train.clip_value` must be 0, got "
            f"{params.clip_norm:g} and {params.clip_value:g}"
        )
    inner = _make_unscaled(params, steps)
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
    """Return the optimizer without the `LossScaleOptimizer` around it, if any."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _make_unscaled(params: TrainParams, steps: int) -> Any:
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
    """Extends a Keras optimizer: decay and learning rate per variable, log of gradient norms.

    Weight decay is decoupled (Loshchilov and Hutter 2019): a share of the weight times the
    learning rate. For Adam it is L2 regularisation, added to the gradient. Norms and biases have
    no decay.
    """

    def __init__(self, *, decay: float, decoupled: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self._decay, self._decoupled = decay, decoupled
        self._rates: list[float] = []

    def assign_rates(self, rates: Sequence[float]) -> None:
        """Set the factor of the learning rate of each variable, in order."""
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
        """Decay and update a variable."""
        number = self._get_variable_index(variable)
        rate = learning_rate * self._rates[number]
        if self._decays[number] and self._decoupled:
            self.assign_sub(variable, variable * ops.cast(rate * self._decay, variable.dtype))
        elif self._decays[number]:
            gradient = gradient + self._decay * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Do nothing: Keras calls this at the end of each fit, which is one epoch here.

        Training continues with the weights, not with their average; see `average_into`.
        """

    def average_into(self: Any, variables: Sequence[Any]) -> None:
        """Set the variables to copies of their moving averages, if there are any.

        Keras' own function would share the arrays on JAX, which deletes both with the next batch.
        """
        if self.use_ema:
            averages = self._model_variables_moving_average
            for variable, average in zip(variables, averages, strict=True):
                variable.assign(ops.copy(average))

    def _update_model_variables_moving_average(self: Any, variables: Sequence[Any]) -> None:
        """Update the moving averages, with a lower momentum at first.

        Otherwise the initial weights would dominate the average of a short training. The momentum
        after t steps is ``min(ema_momentum, t / (t + 9))``. Keras averages after each batch, with
        or without a step, so the batches of one step share it.
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
        """Log and clip the gradient of the whole batch, also if devices share the batch."""
        total, devices = _sum_over_devices(grads)
        squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in total]
        self.norms.assign_add(ops.sqrt(sum(squares)))
        clipped = super()._clip_gradients(total)  # type: ignore[misc]
        # Keras sums over the devices after this.
        return clipped if devices == 1 else [gradient / devices for gradient in clipped]


def _sum_over_devices(gradients: list[Any]) -> tuple[list[Any], int]:
    """Return gradients summed over the devices of a `MirroredStrategy`, and their number.

    In JAX gradients are those of the whole batch already.
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
