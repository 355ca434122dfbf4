"""Any Gymnasium environment, made to change within an episode and made ready for an agent.

- `switching`: a schedule on a parameter; `parameters`: what can be changed; `knobs` and `channels`: how it is changed.
- `generic`: flat spaces and a learned reward for an agent; `ns_gym`: environments of NS-Gym.
"""
