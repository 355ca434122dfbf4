"""The half-cheetah whose motors fail, and on hilly ground.

- `motors`: `mole/HalfCheetahMotors-v0`; `terrain`: `mole/HalfCheetahTerrain-v0`.
- `model`: the MuJoCo model of both, and the half-cheetah as a learner sees it; `ground`: the hills.
"""
