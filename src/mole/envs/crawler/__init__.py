"""The six-legged crawler whose legs fail.

- `env`: `mole/CrawlerLegs-v0`; `dynamics`: the crawler as a learner sees it.
- `model`: its MuJoCo model, built in code; `legs`: the faults of its legs and their names.
"""

from mole.envs.crawler.env import DYNAMICS, ENV_ID, SCHEDULES, SETTINGS, CrawlerLegsEnv, reward

__all__ = ["DYNAMICS", "ENV_ID", "SCHEDULES", "SETTINGS", "CrawlerLegsEnv", "reward"]
