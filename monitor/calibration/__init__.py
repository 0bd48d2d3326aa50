"""What a score is worth: calibration, p-values against genuine people, alarms an hour, and when not to judge.

    recordings -> perceived (once) -> tracks of raw logits (once a model) -> fit, conformal, alarms -> model card

`python -m monitor.calibrate` runs all of it; see docs/calibration.md.
"""
