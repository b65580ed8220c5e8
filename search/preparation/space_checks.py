"""Finds on Ray's workers, where PyTorch is, what of a plan cannot train, before any trial starts."""

from collections.abc import Callable
from dataclasses import replace

import ray
from rich.console import Console

from search.preparation.encoder_weights_folder import without_weights
from search.preparation.space_samples import sample_configs
from search.settings.allocation import Machine
from search.settings.plan import Plan
from search.worker.build_checks import try_model, try_models, try_parts
from trainable.counts import counted

SHOWN = 8
"""Names listed of a group of models that fail for the same reason."""

Wait = Callable[[Console], Plan]


def start_checks(plan: Plan, machine: Machine) -> Wait:
    """Have the workers try the plan's models and the other parts of its configs while the driver goes on.

    Returns:
        A function that waits for the workers, prints which models are left out and why, and returns the plan with the
        others. It raises ValueError if none is left, or if anything else that the space gives cannot be built.

    Raises:
        ValueError: the space has an impossible range, or gives a config that is out of range.
    """
    parts = ray.remote(try_parts).remote(sample_configs(plan))
    models = _start_models(plan, machine) if plan.models else _start_own(plan)

    def wait(console: Console) -> Plan:
        if problem := ray.get(parts):
            raise ValueError(f"space {plan.space} gives a config that cannot train: {problem}")
        return models(console)

    return wait


def _start_own(plan: Plan) -> Wait:
    tasks = [(config, [config.image_size]) for config in plan.given_configs()] or [(plan.config, plan.image_sizes)]
    checks = [ray.remote(try_model).remote(*task) for task in tasks]

    def wait(console: Console) -> Plan:
        for problem in filter(None, ray.get(checks)):
            raise ValueError(problem)
        return plan

    return wait


def _start_models(plan: Plan, machine: Machine) -> Wait:
    missing = without_weights(plan)  # told apart from what cannot be built: another folder helps, nothing else does
    models = [model for model in plan.models if model[1] not in missing]
    # All models of an encoder go to one worker, the encoders round the workers in turn.
    encoders = sorted({encoder for _, encoder in models})
    shares = [
        [model for model in models if encoders.index(model[1]) % machine.cores == core] for core in range(machine.cores)
    ]
    trying = [ray.remote(try_models).remote(plan.config, share, plan.image_sizes, plan.strides) for share in shares]

    def wait(console: Console) -> Plan:
        model_problems = {
            (architecture, encoder): problems
            for share, tried in zip(shares, ray.get(trying), strict=True)
            for (architecture, encoder), problems in zip(share, tried, strict=True)
        }
        # A model is judged by its architecture's default stride, the first; other strides must suit all that are left.
        firsts = {model: next(iter(problems.values())) for model, problems in model_problems.items()}
        reasons = {model: reason for model, reason in firsts.items() if reason}
        remaining = [model for model in models if (model[0], model[1]) not in reasons]
        by_architecture = {
            architecture: [
                model_problems[architecture, encoder] for other, encoder in remaining if other == architecture
            ]
            for architecture in plan.strides
        }
        strides = {
            architecture: [
                stride for stride in plan.strides[architecture] if not any(by_stride[stride] for by_stride in problems)
            ]
            for architecture, problems in by_architecture.items()
        }
        if missing:
            console.print(told_missing(plan, missing), style="yellow", highlight=False, soft_wrap=True)
        if reasons:
            sizes = " or ".join(map(str, plan.image_sizes))
            are = "is" if len(reasons) == 1 else "are"
            models_of = f"{len(reasons)} of {counted(len(models), 'model')}"
            message = f"{models_of} cannot be built at {sizes} px and {are} left out:"
            console.print(message, style="yellow", highlight=False, soft_wrap=True)
            for line in summary(reasons):
                console.print(f"  {line}", highlight=False, soft_wrap=True)
        if not remaining:
            raise ValueError(
                "no model of the space can be built: name another --encoders group, --image-size or --encoder-weights"
            )
        if plan.config.encoder_weights == "imagenet":  # one download shows whether the others will come
            first = replace(plan.config, architecture=remaining[0][0], encoder=remaining[0][1], decoder={})
            if problem := ray.get(ray.remote(try_model).remote(first, plan.image_sizes)):
                raise ValueError(problem)
        return replace(plan, models=remaining, strides=strides)

    return wait


def told_missing(plan: Plan, missing: list[str]) -> str:
    """Return what is said of encoders that have no weights in the folder of the plan."""
    encoders = {encoder for _, encoder in plan.models}
    have, are = ("has", "is") if len(missing) == 1 else ("have", "are")
    return (
        f"{len(missing)} of {counted(len(encoders), 'encoder')} {have} no weights in {plan.config.encoder_weights} and "
        f"{are} left out: {', '.join(missing)}; put their files (ENCODER.safetensors) there, or name another folder by "
        "--encoder-weights"
    )


def summary(reasons: dict[tuple[str, str], str]) -> list[str]:
    """Return one line per reason: the architectures or encoders it holds for, and the reason."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for (architecture, encoder), reason in reasons.items():
        # Everything after the pair's names; what names it again differs in the names alone.
        why = reason.split(": ", 1)[-1] if reason.startswith(architecture) else reason
        key = why.replace(encoder, "ENCODER").replace(architecture, "ARCHITECTURE")
        groups.setdefault(key, []).append((architecture, encoder))
    return [f"{_pairs(models)}: {why}" for why, models in groups.items()]


def _pairs(models: list[tuple[str, str]]) -> str:
    """Return models in few words, by whichever there are fewer of."""
    architectures = list(dict.fromkeys(architecture for architecture, _ in models))
    encoders = list(dict.fromkeys(encoder for _, encoder in models))
    if len(architectures) * len(encoders) == len(models):
        return f"{_few(architectures)} on {_few(encoders)}"
    return _few([f"{architecture} on {encoder}" for architecture, encoder in models])


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
