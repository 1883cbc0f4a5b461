"""What the report says of a comparison's circumstances: configuration, data, machine."""

import os
import platform
from pathlib import Path

import torch

from training.compare.about import About, Planned
from training.compare.config import CompareConfig, Entry
from training.config import RunConfig
from training.export import code_version
from training.prepare import Prepared

LOCAL = {
    "images": {"cache"},
    "data": {"events"},
    "fit": {"checkpoints", "checkpoint_seconds", "device"},
    "evaluate": {"users_per_block"},
}
"""Settings that say where and how things are kept, and change no figure."""


def about(config: CompareConfig, prepared: Prepared, command: str) -> About:
    """As the report wants it; no machine's folder is named."""
    shared = config.model_dump(mode="json", include={"data", "images", "model", "fit", "evaluate"}, exclude=LOCAL)
    search = config.search
    if search.settings_from is not None:
        checked = ", the learning rate checked by three trials" if search.check_learning_rate else ""
        budget = f"settings of the comparison {search.settings_from.name}{checked}"
    else:
        budget = f"at most {search.trials} trials and {search.minutes:g} minutes per model, {search.sampler}"
    return About(
        name=config.name,
        command=command,
        code=code_version(),
        machine=machine(),
        models=tuple(planned(config, entry) for entry in config.models),
        seeds=config.seeds,
        statistics=prepared.statistics.as_dict(),
        settings={
            f"{section}.{name}": value
            for section, values in shared.items()
            for name, value in values.items()
            if section != "model" or name not in ("name", "form")
        },
        budget=f"{budget}, one thread each, on the first seed's validation part",
        resamples=config.evaluate.bootstrap,
    )


def planned(config: CompareConfig, entry: Entry) -> Planned:
    """The model as it was asked for."""
    run: RunConfig = config.run(entry, config.seeds[0], {})
    group = entry.group
    return Planned(
        label=entry.label,
        baseline=run.model.name != "causalrec",
        fusion=None if group is None else group.fusion,
        multitask=None if group is None else group.multitask,
    )


def machine() -> str:
    """Processor, cores, memory, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB{accelerator}; "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    """The name that the kernel gives it, where it gives one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
