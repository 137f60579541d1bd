"""The settings of the smallest comparison that has everything in it."""

from dataclasses import replace

from minimapnet.experiments import presets

SMALL = replace(
    presets.PRESETS["smoke"],
    model=presets.ModelSettings(hidden_size=16, layers=1, heads=2),
    scratch=presets.ScratchSettings(seeds=1, steps=4, batch_size=10, evaluations=3),
    branches=presets.BranchSettings(
        seeds=1, warm_steps=5, warm_batch_size=4, restart_steps=2, steps=4, masked=(1, 0.4), evaluations=3
    ),
    stages=presets.StageSettings(count=2, sentences=3, masks=2, quality_sentences=4, shown=2),
    timed_steps=1,
)
